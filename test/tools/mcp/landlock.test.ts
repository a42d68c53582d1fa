/** A program of MCP in the Landlock sandbox, which a machine that has bwrap too would never choose by itself. */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { expect, test } from "vitest";
import { McpProgram } from "../../../tools/mcp/server.ts";
import { SandboxTransport } from "../../../tools/mcp/stdio.ts";
import { createLandlockExecutor } from "../../../tools/sandbox/landlock/executor.ts";
import { defaultPolicy } from "../../../tools/sandbox/types.ts";

const servers = resolve("test/tools/mcp/servers");
const threadId = "0190b7e0-0000-7000-8000-00000000000c";

test("a server speaks, reads the files of its workspace and none outside; or the self-test says why not", async () => {
  const executor = createLandlockExecutor();
  const root = mkdtempSync(join(tmpdir(), "pawl-mcp-"));
  writeFileSync(join(root, "mine.txt"), "mine");
  try {
    const { available, reason } = await executor.probe("js");
    if (!available) return expect(reason).toMatch(/\w/);
    const program = McpProgram.parse({
      command: "node",
      args: [join(servers, "honest.mjs")],
      // Node looks for it above the program, and takes one that it may not read for a broken one.
      readable: [servers, realpathSync("node_modules"), resolve("package.json")],
    });
    const policy = { ...defaultPolicy, readable: program.readable };
    const session = await executor.open({ threadId, root }, policy);
    const transport = new SandboxTransport(session, program, new AbortController().signal);
    const client = new Client({ name: "test", version: "1" });
    await client.connect(transport).catch((error: unknown) => expect.fail(`${String(error)}: ${transport.ending}`));
    const call = async (name: string, args: Record<string, unknown>): Promise<unknown> =>
      (await client.callTool({ name, arguments: args })).content;
    expect(await call("add", { a: 2, b: 3 })).toEqual([{ type: "text", text: "5" }]);
    expect(await call("look", { path: "mine.txt" })).toEqual([{ type: "text", text: "mine" }]);
    expect(await call("look", { path: "/etc/passwd" })).toEqual([{ type: "text", text: "EACCES" }]);
    await client.close();
    await session.close();
  } finally {
    await executor.close();
    rmSync(root, { recursive: true });
  }
}, 60_000);
