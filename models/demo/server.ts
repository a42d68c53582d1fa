/**
 * The demo model `pawl-demo`: what answers when no model is configured. It speaks the protocol of vLLM and OpenAI over
 * HTTP, so that everything but the thinking is real. It is rules (decide.ts), not a language model, and says so.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { z } from "zod";
import { type Completion, completionBody, completionChunks, tokenize } from "./completion.ts";
import { decide } from "./decide.ts";
import { ChatMessage, historyViolations } from "./validate-history.ts";

export const DEMO_MODEL = "pawl-demo";

const ChatRequest = z.object({
  model: z.string(),
  messages: z.array(ChatMessage),
  tools: z
    .array(z.object({ type: z.literal("function"), function: z.object({ name: z.string().min(1) }) }))
    .default([]),
  tool_choice: z
    .union([
      z.enum(["auto", "none", "required"]),
      z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) }),
    ])
    .default("auto"),
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().default(false) }).optional(),
  max_tokens: z.number().int().min(1).optional(),
});
type ChatRequest = z.infer<typeof ChatRequest>;

/** A refusal in the words and the shape of the protocol. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Starts the demo model on a free port of the loopback interface. It never keeps the process alive. */
export async function startDemoModel(): Promise<{ baseUrl: string; apiKey: string; label: string }> {
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      const { status, message } = error instanceof Refusal ? error : new Refusal(500, "Internal error");
      if (response.headersSent) response.destroy();
      else sendJson(response, status, { error: { message, type: "invalid_request_error", param: null, code: null } });
    });
  });
  server.on("connection", (socket) => socket.unref());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  const { port } = server.address() as AddressInfo;
  return { baseUrl: `http://127.0.0.1:${port}/v1`, apiKey: "none", label: "built-in demo model" };
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  switch (`${request.method} ${request.url}`) {
    case "GET /health":
      return void response.end();
    case "GET /v1/models":
      return sendJson(response, 200, { object: "list", data: [{ id: DEMO_MODEL, object: "model", owned_by: "pawl" }] });
    case "POST /v1/chat/completions":
      return answer(parseRequest(await text(request)), response);
    default:
      throw new Refusal(404, `No route ${request.method} ${request.url}`);
  }
}

function parseRequest(body: string): ChatRequest {
  const json = z.record(z.string(), z.unknown()).safeParse(safeJson(body));
  if (!json.success) throw new Refusal(400, "The body is not a JSON object");
  const violations = historyViolations(json.data["messages"]);
  if (violations.length > 0) throw new Refusal(400, violations.join("\n"));
  const parsed = ChatRequest.safeParse(json.data);
  if (!parsed.success) throw new Refusal(400, z.prettifyError(parsed.error));
  if (parsed.data.model !== DEMO_MODEL) throw new Refusal(404, `The model "${parsed.data.model}" does not exist`);
  return parsed.data;
}

async function answer(request: ChatRequest, response: ServerResponse): Promise<void> {
  const completion = complete(request);
  if (!request.stream) return sendJson(response, 200, completionBody(completion));
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  for (const chunk of completionChunks(completion, request.stream_options?.include_usage ?? false)) {
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    await setImmediate(); // a packet of its own for each token
  }
  response.end("data: [DONE]\n\n");
}

function complete({ messages, tools, tool_choice: choice, max_tokens: limit = Infinity }: ChatRequest): Completion {
  const offered = tools.map((tool) => tool.function.name);
  const decision = decide({ messages, offered, choice: typeof choice === "string" ? choice : choice.function });
  const all = tokenize(decision.text);
  const tokens = all.slice(0, limit);
  const finished = decision.calls.length > 0 ? "tool_calls" : "stop";
  return {
    id: `chatcmpl-${randomUUID()}`,
    model: DEMO_MODEL,
    tokens,
    calls: decision.calls.map(({ name, args }) => ({
      id: `call_${randomUUID()}`,
      name,
      arguments: JSON.stringify(args),
    })),
    finishReason: tokens.length < all.length ? "length" : finished,
    promptTokens: Math.ceil(JSON.stringify(messages).length / 4),
  };
}

function safeJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
