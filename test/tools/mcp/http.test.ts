/** MCP servers on the network: the same rules as for every request of a tool. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { executeTool, mcpTools, type Tool } from "../../../tools/index.ts";
import { createHarness } from "../harness.ts";

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params?: { readonly protocolVersion?: string };
}

/** What a call is answered with. */
let answer: (message: Message, response: ServerResponse) => void;
const seen: { method: string | undefined; authorization: string | undefined; host: string | undefined }[] = [];

const server = createServer((request, response) => void handle(request, response));
let url: string;

beforeEach(async () => {
  seen.length = 0;
  answer = ({ id }, response) => say(response, { id, result: { content: [{ type: "text", text: "fine" }] } });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});

function say(response: ServerResponse, message: object): void {
  response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", ...message }));
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { authorization, host } = request.headers;
  seen.push({ method: request.method, authorization, host });
  if (request.method !== "POST") return void response.writeHead(405).end();
  const message = (await json(request)) as Message;
  if (message.id === undefined) return void response.writeHead(202).end();
  if (message.method === "initialize") {
    const { protocolVersion } = message.params ?? {};
    const result = { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "s", version: "1" } };
    return say(response, { id: message.id, result });
  }
  if (message.method === "tools/list")
    return say(response, { id: message.id, result: { tools: [{ name: "t", inputSchema: { type: "object" } }] } });
  answer(message, response);
}

async function toolAt(address: string): Promise<Tool> {
  const headers = { authorization: "Bearer own" };
  const [tool] = await mcpTools({ web: { url: address, headers, tools: { t: { effect: "none" } }, timeoutMs: 2_000 } });
  return tool!;
}

async function call(tool: Tool) {
  using harness = createHarness();
  return executeTool(tool, {}, harness.context());
}

test("one that is named by its address is reached, with the operator's headers", async () => {
  const tool = await toolAt(url);
  expect(await call(tool)).toMatchObject({ status: "ok", result: { status: "ok", text: "fine", untrusted: true } });
  expect(new Set(seen.map(({ authorization }) => authorization))).toEqual(new Set(["Bearer own"]));
});

test.each([
  ["a name that means this machine", (own: string) => own.replace("127.0.0.1", "localhost")],
  ["nothing that listens", () => "http://127.0.0.1:1/mcp"],
])("%s is not reached, and the graph is not loaded", async (_name, of) => {
  await expect(toolAt(of(url))).rejects.toMatchObject({ code: "bad_configuration" });
  expect(seen).toEqual([]);
});

test("a redirect to another place is not followed", async () => {
  const tool = await toolAt(url);
  let visits = 0;
  const elsewhere = createServer((_request, response) => void (visits++, response.end())).listen(0, "127.0.0.1");
  await new Promise((resolve) => void elsewhere.once("listening", resolve));
  const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`;
  answer = (_message, response) => void response.writeHead(307, { location }).end();
  expect(await call(tool)).toMatchObject({ status: "error", code: "FAILED" });
  elsewhere.close();
  expect(visits).toBe(0);
});

test("an answer without end is cut, and the call has failed", async () => {
  const tool = await toolAt(url);
  answer = (_message, response) => {
    response.setHeader("content-type", "application/json");
    const more = (): void =>
      void (
        response.destroyed || (response.write("x".repeat(65_536)) ? setImmediate(more) : response.once("drain", more))
      );
    more();
  };
  expect(await call(tool)).toMatchObject({ status: "error", code: "FAILED" });
});

test("what is not the protocol is a failure", async () => {
  const tool = await toolAt(url);
  answer = (_message, response) => void response.setHeader("content-type", "application/json").end("no json");
  expect(await call(tool)).toMatchObject({ status: "error", code: "FAILED" });
});
