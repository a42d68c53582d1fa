/** deepagents' own agent on a session of each sandbox: its tools, called by a scripted model, over our backend. */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { CompositeBackend, createDeepAgent, StateBackend } from "deepagents";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { createBwrapExecutor } from "../../tools/sandbox/bwrap/executor.ts";
import { createLandlockExecutor } from "../../tools/sandbox/landlock/executor.ts";
import { defaultPolicy, type Session } from "../../tools/sandbox/types.ts";
import { createWasmExecutor } from "../../tools/sandbox/wasm/executor.ts";
import { scriptedModel } from "../support/scripted-model.ts";

const executors = [createWasmExecutor(), createLandlockExecutor(), createBwrapExecutor()];
const available = await Promise.all(executors.map(async (one) => (await one.probe("shell")).available));

afterAll(() => Promise.all(executors.map((one) => one.close())));

test("there is a sandbox to test", () => expect(available[0]).toBe(true));

describe.each(executors.filter((_, index) => available[index]))("in $kind", (executor) => {
  let root: string;
  let session: Session;
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "pawl-deepagents-"));
    session = await executor.open({ threadId: "t", root }, { ...defaultPolicy, fileMb: 1 });
  });
  afterEach(async () => {
    await session.close();
    rmSync(root, { recursive: true, force: true });
  });

  /** What each call came back as, in the order of the calls. */
  async function results(...calls: (readonly [name: string, args: Record<string, unknown>])[]): Promise<string[]> {
    // What the agent puts aside for itself is not the guest's.
    const aside = new StateBackend();
    const backend = new CompositeBackend(session, { "/large_tool_results/": aside, "/conversation_history/": aside });
    const steps = calls.map(([name, args]) => ({ calls: [{ name, args }] }));
    await using model = await scriptedModel([...steps, { text: "done" }]);
    const agent = createDeepAgent({
      model: new ChatOpenAI({
        model: "scripted",
        apiKey: "none",
        configuration: { baseURL: model.url },
        maxRetries: 0,
      }),
      backend,
    });
    const { messages } = await agent.invoke({ messages: [{ role: "user", content: "go" }] }, { recursionLimit: 200 });
    return messages.filter((message) => ToolMessage.isInstance(message)).map(({ text }) => text);
  }

  test("files are written, read, edited, listed and found, and a command sees them", async () => {
    const [wrote, read, edited, listed, globbed, grepped, executed] = await results(
      ["write_file", { file_path: "/workspace/notes/plan.md", content: "one\ntwo\n" }],
      ["read_file", { file_path: "/workspace/notes/plan.md" }],
      ["edit_file", { file_path: "/workspace/notes/plan.md", old_string: "two", new_string: "three $& three" }],
      ["ls", { path: "/workspace/notes" }],
      ["glob", { pattern: "**/*.md", path: "/workspace" }],
      ["grep", { pattern: "three", path: "/workspace" }],
      ["execute", { command: "cat notes/plan.md; echo problem >&2; exit 3" }],
    );
    expect(wrote).toContain("/workspace/notes/plan.md");
    expect(read).toMatch(/one[^]*two/);
    expect(edited).toContain("/workspace/notes/plan.md");
    for (const found of [listed, globbed, grepped]) expect(found).toContain("plan.md");
    expect(executed).toMatch(/one\nthree \$& three[^]*problem[^]*3/);
  });

  test("what goes wrong is an answer to the model, and the agent goes on", async () => {
    symlinkSync("/etc", join(root, "etc"));
    const answers = await results(
      ["read_file", { file_path: "/workspace/none" }],
      ["edit_file", { file_path: "/workspace/none", old_string: "a", new_string: "b" }],
      ["write_file", { file_path: "/etc/planted", content: "x" }],
      ["read_file", { file_path: "/workspace/etc/passwd" }],
      ["ls", { path: "/workspace/../.." }],
      ["execute", { command: "cat /etc/passwd" }],
      ["execute", { command: "i=0; while [ $i -lt 300 ]; do seq 1 9999 >> large || exit; i=$((i + 1)); done" }],
      ["write_file", { file_path: "/workspace/good", content: "good" }],
    );
    expect(answers).toHaveLength(8);
    for (const refused of answers.slice(0, -1)) expect(refused).toMatch(/error|fail|not|denied|invalid/i);
    expect(answers.join("\n")).not.toMatch(/root:.*:0:0/);
    expect(await session.read("/workspace/good")).toMatchObject({ content: "good" });
  });

  test("a large output comes cut, a large file by pages, and the agent goes on", async () => {
    const answers = await results(
      ["execute", { command: "seq 1 50000" }],
      ["execute", { command: "seq 1 3000 > /workspace/long.txt" }],
      ["read_file", { file_path: "/workspace/long.txt", offset: 2_998, limit: 10 }],
      ["grep", { pattern: "2999", path: "/workspace/long.txt" }],
    );
    expect(answers).toHaveLength(4);
    expect(answers[0]).toContain("/large_tool_results/");
    for (const answer of answers) expect(answer.length).toBeLessThan(20_000);
    expect(answers[2]).toMatch(/2999[^]*3000/);
    expect(answers[3]).toContain("long.txt");
  });
});
