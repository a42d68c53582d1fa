/** The programs in the documents do what the documents say. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { spawnServer, testServer } from "../support/server.ts";
import { codeOf } from "./documents.ts";

const run = promisify(execFile);

test("the README's program asks, gets its e-mail approved and reports", async () => {
  await using server = await spawnServer({ graphs: { react: "graphs/react.ts:graph" } });
  const [program = ""] = codeOf("README.md", "ts");
  const here = program.replace("http://127.0.0.1:2024", server.url);
  const { stdout } = await run(process.execPath, ["--input-type=module-typescript", "--eval", here]);
  const lines = stdout.trim().split("\n");
  const events = [
    "metadata run_id,attempt",
    "updates model",
    "updates tools",
    "updates model",
    "updates __interrupt__",
  ];
  expect(lines.slice(0, 5)).toEqual(events);
  expect(lines[5]).toMatch(/^waits for [0-9a-f]{32}$/);
  expect(lines[6]).toMatch(/^The result of 6 \* 7 is 42\. I sent the e-mail to ann@example\.org\./);
});

test("the graph of docs/graphs.md pays once it is told to, through the ledger", async () => {
  const { graph } = await loadExample();
  await using server = await testServer({ graphs: { pay: graph } });
  const { client, database } = server;
  const { thread_id } = await client.threads.create();
  const asked = await client.runs.wait(thread_id, "pay", { input: { amount: 5 } });
  expect(asked).toMatchObject({ __interrupt__: [{ value: { question: "Pay 5?" } }] });
  const paid = await client.runs.wait(thread_id, "pay", { command: { resume: true } });
  const { rows } = await database.pool.query("select key, state from effects");
  expect(rows).toEqual([{ key: expect.stringMatching(/^pay\/[0-9a-f-]{36}$/), state: "committed" }]);
  expect(paid).toMatchObject({ receipt: `paid 5, reference ${thread_id}:${rows[0].key}` });
});

/** Under this folder, where packages are found and types are stripped. */
async function loadExample(): Promise<{ graph: unknown }> {
  const [program = ""] = codeOf("docs/graphs.md", "ts");
  const folder = await mkdtemp(join(import.meta.dirname, "example-"));
  try {
    const file = join(folder, "graph.ts");
    await writeFile(file, program.replace('"../lib/', `"${resolve("lib")}/`));
    return (await import(file)) as { graph: unknown };
  } finally {
    await rm(folder, { recursive: true });
  }
}
