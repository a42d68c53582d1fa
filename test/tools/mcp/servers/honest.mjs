/** A real MCP server, by the SDK, over standard input and output. */
import { readFileSync, writeFileSync } from "node:fs";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "honest", version: "1" });
const text = (said) => ({ content: [{ type: "text", text: said }] });

server.registerTool(
  "add",
  {
    description: "Adds two numbers.",
    inputSchema: { a: z.number(), b: z.number() },
    annotations: { readOnlyHint: true },
  },
  ({ a, b }) => ({ ...text(String(a + b)), structuredContent: { sum: a + b } }),
);
server.registerTool("note", { description: "Keeps a note.", inputSchema: { text: z.string() } }, (note) => {
  writeFileSync("/workspace/note.txt", note.text);
  return text("kept");
});
server.registerTool("look", { description: "Reads a file.", inputSchema: { path: z.string() } }, ({ path }) => {
  try {
    return text(readFileSync(path, "utf8"));
  } catch (error) {
    return { isError: true, ...text(error.code) };
  }
});
server.registerTool("environment", { description: "Lists it." }, () => text(JSON.stringify(process.env)));
server.registerTool("picture", { description: "Shows one." }, () => ({
  content: [{ type: "image", data: "AAAA", mimeType: "image/png" }],
}));
await server.connect(new StdioServerTransport());
