/** A guest that spins keeps its own process busy and not the server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { metaRoutes } from "../../server/meta.ts";
import { createBwrapExecutor } from "../../tools/sandbox/bwrap/executor.ts";
import { createLandlockExecutor } from "../../tools/sandbox/landlock/executor.ts";
import { defaultPolicy } from "../../tools/sandbox/types.ts";
import { createWasmExecutor } from "../../tools/sandbox/wasm/executor.ts";

const root = mkdtempSync(join(tmpdir(), "pawl-latency-"));
const executors = [createWasmExecutor(), createLandlockExecutor(), createBwrapExecutor()];
const app = metaRoutes({ checks: { database: async () => {}, model: async () => {} } });

afterAll(async () => {
  await Promise.all(executors.map((executor) => executor.close()));
  rmSync(root, { recursive: true });
});

const spin = { js: "console.log(1); for (;;);", shell: "echo 1; while :; do :; done" };

test.each(executors.map((executor) => [executor.kind, executor] as const))(
  "50 requests are answered while a guest of %s spins",
  async (kind, executor) => {
    const language = kind === "wasm" ? "js" : "shell";
    const capabilities = await executor.probe(language);
    if (!capabilities.available) return expect(capabilities.reason).toMatch(/\w/);
    const session = await executor.open({ threadId: "0190b7e0-0000-7000-8000-00000000000d", root }, defaultPolicy);
    const cancel = new AbortController();
    const spinning = Promise.withResolvers<void>();
    let ended = false;
    const running = session
      .run({ language, code: spin[language], signal: cancel.signal, onOutput: () => spinning.resolve() })
      .finally(() => (ended = true));
    await spinning.promise;
    for (let i = 0; i < 50; i++) {
      await nextTurn();
      expect((await app.request("/ok")).status).toBe(200);
    }
    expect(ended).toBe(false);
    cancel.abort();
    expect(await running).toMatchObject({ status: "killed" });
  },
);
