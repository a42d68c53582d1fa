/** HTTP for threads: parse, call, shape. */
import { type Context, Hono } from "hono";
import { z } from "zod";
import { ThreadId } from "../lib/ids.ts";
import { CheckpointRef } from "../runs/index.ts";
import { ThreadCreate } from "../runs/threads/create.ts";
import { ThreadPatch } from "../runs/threads/patch.ts";
import { ThreadFilter, ThreadSearch } from "../runs/threads/search.ts";
import { HistoryQuery } from "../runs/threads/state.ts";
import { PruneStrategy, type Threads } from "../runs/threads/threads.ts";
import { StateUpdate } from "../runs/threads/update-state.ts";
import type { ServerEnv } from "./app.ts";
import { paged } from "./paged.ts";
import { parse, parseBody, parseParam, parseQuery, queryFlag, queryInt, queryList } from "./parse.ts";
import { principalOf } from "./principal.ts";

/** What else may be asked for is ignored: newer clients may know more. */
const ThreadQuery = z.object({ include: queryList(z.string()).default([]) });
const StateQuery = z.object({ subgraphs: queryFlag.default(false) });
/** The dev server wants `subgraphs` as a string, the SDK sends a boolean. */
const StateAtCheckpoint = z.object({
  checkpoint: CheckpointRef,
  subgraphs: z.union([z.boolean(), queryFlag]).nullish(),
});
const StatePatch = z.object({ metadata: z.record(z.string(), z.unknown()) });
const HistoryInQuery = z.object({ limit: queryInt.optional(), before: z.string().optional() });
const Prune = z.object({
  thread_ids: z.array(ThreadId).max(1_000),
  strategy: PruneStrategy.default("delete"),
});

/** Any text that Postgres can hold: checkpoints may come from other savers. */
const CheckpointId = z
  .string()
  .min(1)
  .refine((id) => !id.includes("\0"), "is no id");

export function threadRoutes(threads: Threads): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  app.post("/threads", async (c) => c.json(await threads.create(principalOf(c), await parseBody(ThreadCreate, c))));

  app.post("/threads/search", async (c) => {
    const search = await parseBody(ThreadSearch, c);
    return paged(c, search, await threads.search(principalOf(c), search));
  });

  app.post("/threads/count", async (c) =>
    c.json(await threads.count(principalOf(c), await parseBody(ThreadFilter, c))),
  );

  app.post("/threads/prune", async (c) => {
    const { thread_ids, strategy } = await parseBody(Prune, c);
    return c.json({ pruned_count: await threads.prune(principalOf(c), thread_ids, strategy) });
  });

  app.get("/threads/:thread_id", async (c) => {
    const { include } = parseQuery(ThreadQuery, c);
    const thread = await threads.get(principalOf(c), threadOf(c));
    return c.json(
      include.includes("ttl") ? { ...thread, ttl: await threads.ttl(principalOf(c), threadOf(c)) } : thread,
    );
  });

  app.patch("/threads/:thread_id", async (c) => {
    const patch = await parseBody(ThreadPatch, c);
    const thread = await threads.patch(principalOf(c), { threadId: threadOf(c), ...patch });
    return /\breturn=minimal\b/.test(c.req.header("prefer") ?? "") ? c.body(null, 204) : c.json(thread);
  });

  app.delete("/threads/:thread_id", async (c) => {
    await threads.delete(principalOf(c), threadOf(c));
    return c.body(null, 204);
  });

  app.post("/threads/:thread_id/copy", async (c) => c.json(await threads.copy(principalOf(c), threadOf(c))));

  app.get("/threads/:thread_id/state", async (c) =>
    c.json(await threads.state(principalOf(c), { threadId: threadOf(c), ...parseQuery(StateQuery, c) })),
  );

  app.post("/threads/:thread_id/state", async (c) => {
    const update = await parseBody(StateUpdate, c);
    const checkpoint = await threads.updateState(principalOf(c), { threadId: threadOf(c), ...update });
    // Old clients read the config of the library, newer ones the checkpoint.
    return c.json({ checkpoint, configurable: checkpoint, checkpoint_id: checkpoint?.checkpoint_id });
  });

  app.patch("/threads/:thread_id/state", async (c) => {
    const { metadata } = await parseBody(StatePatch, c);
    await threads.patchState(principalOf(c), { threadId: threadOf(c), metadata });
    return c.body(null, 204);
  });

  app.post("/threads/:thread_id/state/checkpoint", async (c) => {
    const { checkpoint, subgraphs } = await parseBody(StateAtCheckpoint, c);
    const query = { threadId: threadOf(c), checkpoint, subgraphs: subgraphs ?? false };
    return c.json(await threads.state(principalOf(c), query));
  });

  app.get("/threads/:thread_id/state/:checkpoint_id", async (c) => {
    const checkpoint = { checkpoint_id: parseParam(CheckpointId, c, "checkpoint_id") };
    const query = { threadId: threadOf(c), checkpoint, ...parseQuery(StateQuery, c) };
    return c.json(await threads.state(principalOf(c), query));
  });

  app.get("/threads/:thread_id/history", async (c) => {
    const query = parse(HistoryQuery, parseQuery(HistoryInQuery, c));
    return c.json(await threads.history(principalOf(c), { threadId: threadOf(c), ...query }));
  });

  app.post("/threads/:thread_id/history", async (c) => {
    const query = await parseBody(HistoryQuery, c);
    return c.json(await threads.history(principalOf(c), { threadId: threadOf(c), ...query }));
  });

  return app;
}

function threadOf(c: Context<ServerEnv>): ThreadId {
  return parseParam(ThreadId, c, "thread_id");
}
