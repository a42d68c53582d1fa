/** What the server says about itself. `/ok` is about the process, `/ready` about what it needs to do work. */
import { createRequire } from "node:module";
import { Hono } from "hono";
import { z } from "zod";
import { asError } from "../lib/errors.ts";
import type { ServerEnv } from "./app.ts";
import { parseBody, parseQuery, queryFlag } from "./parse.ts";

/** The version of LangGraph's server whose API this is; Studio takes a lower one for an old server. */
const API_VERSION = "0.8.0";

/** What `/internal/truncate` empties; other keys are ignored. */
export const Truncate = z.object({
  runs: z.boolean().optional(),
  threads: z.boolean().optional(),
  assistants: z.boolean().optional(),
  store: z.boolean().optional(),
  checkpointer: z.boolean().optional(),
});
export type Truncate = z.infer<typeof Truncate>;

interface MetaOptions {
  /** What has to work, by name. Each resolves, or rejects with the reason, which clients get to read. */
  readonly checks: Readonly<Record<"database" | "model", () => Promise<void>>>;
  /** What runs code of a model here. */
  readonly sandboxes?: () => Readonly<Record<string, unknown>>;
  /** Empties tables. Absent in production: whoever may call it deletes everything. */
  readonly truncate?: (what: Truncate) => Promise<void>;
}

export function metaRoutes({ checks, sandboxes = () => ({}), truncate }: MetaOptions): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  app.get("/ok", async (c) => {
    const { check_db: checkDatabase } = parseQuery(z.object({ check_db: queryFlag.default(false) }), c);
    if (!checkDatabase) return c.json({ ok: true });
    const { ok, detail } = await outcome(checks.database);
    return ok ? c.json({ ok }) : c.json({ ok, detail, code: "database_unavailable" }, 503);
  });

  app.get("/ready", async (c) => {
    const [database, model] = await Promise.all([outcome(checks.database), outcome(checks.model)]);
    const ready = database.ok && model.ok;
    return c.json({ ready, checks: { database, model } }, ready ? 200 : 503);
  });

  app.get("/info", (c) => c.json({ ...info, sandboxes: sandboxes() }));

  if (truncate) {
    app.post("/internal/truncate", async (c) => {
      await truncate(await parseBody(Truncate, c));
      return c.json({ ok: true });
    });
  }
  return app;
}

const versionOf = (name: string): string => {
  const { version } = z.object({ version: z.string() }).parse(createRequire(import.meta.url)(name));
  return version;
};

const info = {
  version: API_VERSION,
  langgraph_js_version: versionOf("@langchain/langgraph/package.json"),
  context: "js",
  flags: { assistants: true, crons: false, langsmith: false, langsmith_tracing_replicas: false },
  host: { kind: "self-hosted", project_id: null, revision_id: null, tenant_id: null },
  metadata: { server: "pawl" },
};

async function outcome(check: () => Promise<void>): Promise<{ ok: boolean; detail?: string }> {
  try {
    await check();
    return { ok: true };
  } catch (error) {
    return { ok: false, detail: asError(error).message };
  }
}
