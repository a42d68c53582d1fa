/** An MCP server that misbehaves in one way, which its first argument names. */
import { createInterface } from "node:readline";

const [way = ""] = process.argv.slice(2);
const say = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const object = { type: "object", properties: {} };
const listed = {
  "no-object": [{ name: "t", inputSchema: { type: "string" } }],
  "required-unknown": [{ name: "t", inputSchema: { type: "object", properties: {}, required: ["x"] } }],
  "large-schema": [{ name: "t", inputSchema: { ...object, description: "x".repeat(40_000) } }],
  "bad-name": [{ name: "a b\u202e", inputSchema: object }],
  "many-tools": Array.from({ length: 200 }, (_, n) => ({ name: `t${n}`, inputSchema: object })),
  "evil-pattern": [
    { name: "t", inputSchema: { type: "object", properties: { x: { type: "string", pattern: "^(a+)+$" } } } },
  ],
}[way] ?? [{ name: "t", description: "\u001b[31mA tool\u202e", inputSchema: object }];

function call(id) {
  if (way === "crash") process.exit(7);
  if (way === "hang") return undefined;
  if (way === "flood") return setInterval(() => process.stdout.write("x".repeat(100_000)), 0);
  if (way === "flood-messages")
    return setInterval(() => {
      for (let n = 0; n < 1_000; n++) say({ method: "notifications/message", params: { level: "info", data: "x" } });
    }, 0);
  if (way === "garbage") process.stdout.write('no json\n{"half":\n[]\n\n{"jsonrpc":"1.0"}\n');
  if (way === "deep") process.stdout.write(`${"[".repeat(50_000)}${"]".repeat(50_000)}\n`);
  if (way === "other-answer") return say({ id, result: { content: "no list" } });
  if (way === "refuses") return say({ id, error: { code: -32602, message: "\u001b]0;x\u0007no such thing" } });
  if (way === "asks") say({ id: 99, method: "sampling/createMessage", params: { messages: [], maxTokens: 1 } });
  return say({ id, result: { content: [{ type: "text", text: "\u001b[31mred\u202e" }] } });
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize" && way === "silent") return;
  if (method === "initialize") {
    const { protocolVersion } = params;
    say({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "rogue", version: "1" } } });
  }
  if (method === "tools/list")
    say({ id, result: { tools: listed, ...(way === "many-pages" && { nextCursor: "again" }) } });
  if (method === "tools/call") call(id);
});
