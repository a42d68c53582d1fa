/**
 * A model endpoint for tests: a real HTTP server that answers with a script, step by step.
 *
 *     await using model = await scriptedModel([{ calls: [{ name: "current_time", args: {} }] }, { text: "It is noon." }]);
 *     // MODEL_BASE_URL = model.url
 *
 * Every request's history is checked by the strict validator. Disposal fails when a history was invalid or when more
 * calls came than the script has steps, so a test cannot pass by accident.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { type Completion, completionBody, completionChunks, tokenize } from "../../models/demo/completion.ts";
import { historyViolations } from "../../models/demo/validate-history.ts";

interface ScriptedCall {
  readonly name: string;
  /** A string is sent as it is: use it for JSON that is not valid. */
  readonly args: Readonly<Record<string, unknown>> | string;
  /** Default: fresh. */
  readonly id?: string;
}

/** An answer of the model, perhaps a faulty one. A streamed chunk is the role, one token, half of a call, or the end. */
export interface Answer {
  /** An array gives the tokens one by one (for a surrogate pair that is split, say). */
  readonly text?: string | readonly string[];
  readonly calls?: readonly ScriptedCall[];
  /** In the field where vLLM puts it. */
  readonly reasoning?: string;
  /** Default: fresh. */
  readonly id?: string;
  /** `null`: the answer just ends. Default: `tool_calls` or `stop`. */
  readonly finishReason?: string | null;
  /** The connection breaks after so many chunks. Not streamed: half-way in the body. */
  readonly cutAfter?: number;
  /** The stream sends an error event after so many chunks. Not streamed: status 500. */
  readonly errorAfter?: number;
  /** The stream goes on after so many chunks only when `until` is settled. */
  readonly pause?: { readonly after: number; readonly until: PromiseLike<unknown> };
}

/** An HTTP error in place of an answer. */
export interface Refusal {
  readonly status: number;
  /** The header `Retry-After`, in seconds; 0 makes our retries immediate. */
  readonly retryAfter?: number;
  /** Default: an error body whose message is "provider secret", which no caller may ever see. */
  readonly body?: unknown;
}

/** Nothing ever comes, not even headers. */
interface Hang {
  readonly hang: true;
}

export type FixedStep = (Answer | Refusal | Hang) & {
  /** A gate: the step answers when this is settled. */
  readonly after?: PromiseLike<unknown>;
};
export type Step = FixedStep | ((request: ScriptedRequest) => FixedStep);

/** One recorded call, frozen. */
interface ScriptedRequest {
  readonly headers: IncomingMessage["headers"];
  readonly body: ChatBody;
  readonly violations: readonly string[];
}

/** The parts of a request body that tests look at; the rest is there too. */
interface ChatBody {
  readonly [key: string]: unknown;
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: unknown; readonly [key: string]: unknown }[];
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
  readonly tool_choice?: unknown;
  readonly stream?: boolean;
  readonly max_tokens?: number;
}

interface ScriptedModelOptions {
  /** Answers when the script is used up; without it such a call is an error. */
  readonly otherwise?: Step;
  /** The ids that `GET /v1/models` lists. Default: `scripted`. */
  readonly models?: readonly string[];
  /** Default: a free one. Give the one of an earlier server to bring a model back. */
  readonly port?: number;
  /** For a test that provokes an invalid history. Default: true. */
  readonly strict?: boolean;
}

export class ScriptedModel implements AsyncDisposable {
  readonly requests: ScriptedRequest[] = [];
  /** Calls whose client went away before the answer was complete. */
  disconnects = 0;
  readonly #server: Server;
  readonly #steps: Step[];
  readonly #options: ScriptedModelOptions;
  readonly #faults: string[] = [];
  readonly #changed = new EventTarget();

  constructor(steps: readonly Step[], options: ScriptedModelOptions) {
    this.#steps = [...steps];
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        this.#faults.push(String(error));
        response.destroy();
      });
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(this.#options.port ?? 0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** The base URL for clients, ending in /v1. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Appends steps, for a file whose tests share one server. */
  script(...steps: Step[]): void {
    this.#steps.push(...steps);
  }

  /** The nth call, counted from 1, as soon as it has arrived. */
  async waitForRequest(n = 1): Promise<ScriptedRequest> {
    await this.#until(() => this.requests.length >= n);
    return this.requests[n - 1]!;
  }

  async waitForDisconnect(n = 1): Promise<void> {
    await this.#until(() => this.disconnects >= n);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    if (this.#faults.length > 0) throw new Error(`The scripted model saw:\n${this.#faults.join("\n")}`);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changed, "change");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === "/health") return void response.end();
    if (request.url === "/v1/models") {
      const data = (this.#options.models ?? ["scripted"]).map((id) => ({ id, object: "model" }));
      return send(response, 200, { object: "list", data });
    }
    const body = (await json(request)) as ChatBody;
    const violations = historyViolations(body.messages);
    const recorded = deepFreeze({ headers: request.headers, body, violations });
    const step = this.#steps.shift() ?? this.#options.otherwise;
    this.requests.push(recorded);
    response.once("close", () => {
      if (response.writableFinished || response.errored !== null) return;
      this.disconnects += 1;
      this.#changed.dispatchEvent(new Event("change"));
    });
    this.#changed.dispatchEvent(new Event("change"));
    if (violations.length > 0 && this.#options.strict !== false) {
      this.#faults.push(...violations.map((violation) => `call ${this.requests.length}: ${violation}`));
      return send(response, 400, errorBody(violations.join("\n")));
    }
    if (!step) {
      this.#faults.push(`call ${this.requests.length}: not in the script`);
      return send(response, 400, errorBody("not in the script")); // a 500 would be tried again
    }
    await play(typeof step === "function" ? step(recorded) : step, recorded, response);
  }
}

/** Starts a model that plays `steps`, one a call, on a free port of the loopback interface. */
export async function scriptedModel(
  steps: readonly Step[] = [],
  options: ScriptedModelOptions = {},
): Promise<ScriptedModel> {
  const model = new ScriptedModel(steps, options);
  await model.listen();
  return model;
}

async function play(step: FixedStep, request: ScriptedRequest, response: ServerResponse): Promise<void> {
  await step.after;
  if ("hang" in step) return;
  if ("status" in step) {
    if (step.retryAfter !== undefined) response.setHeader("retry-after", String(step.retryAfter));
    return send(response, step.status, step.body ?? errorBody("provider secret"));
  }
  const completion = completionOf(step, request);
  await (request.body.stream ? playStream(step, completion, response) : playBody(step, completion, response));
}

async function playStream(answer: Answer, completion: Completion, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  let sent = 0;
  for (const chunk of completionChunks(completion, true)) {
    if (sent === answer.pause?.after) await answer.pause.until;
    if (sent === answer.cutAfter) return cut(response);
    if (sent === answer.errorAfter) return void response.end(sse(errorBody("provider secret")));
    response.write(sse(chunk));
    await setImmediate(); // a packet of its own for each chunk
    sent += 1;
  }
  response.end("data: [DONE]\n\n");
}

async function playBody(answer: Answer, completion: Completion, response: ServerResponse): Promise<void> {
  await answer.pause?.until;
  if (answer.errorAfter !== undefined) return send(response, 500, errorBody("provider secret"));
  const body = JSON.stringify(completionBody(completion));
  if (answer.cutAfter === undefined) return send(response, 200, body);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.write(body.slice(0, body.length / 2));
  return cut(response);
}

/** Breaks the connection once what was written is on its way. */
async function cut(response: ServerResponse): Promise<void> {
  await setImmediate();
  response.destroy(new Error("cut by the script"));
}

function completionOf(answer: Answer, request: ScriptedRequest): Completion {
  const calls = (answer.calls ?? []).map(({ id, name, args }) => ({
    id: id ?? `call_${randomUUID()}`,
    name,
    arguments: typeof args === "string" ? args : JSON.stringify(args),
  }));
  return {
    id: answer.id ?? `chatcmpl-${randomUUID()}`,
    model: request.body.model,
    tokens: typeof answer.text === "string" ? tokenize(answer.text) : (answer.text ?? []),
    calls,
    ...(answer.reasoning !== undefined && { reasoning: answer.reasoning }),
    finishReason: answer.finishReason === undefined ? (calls.length > 0 ? "tool_calls" : "stop") : answer.finishReason,
    promptTokens: 7,
  };
}

const sse = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;

const errorBody = (message: string): object => ({ error: { message, type: "scripted_error", code: null } });

/** A string is sent as it is: a body that is not JSON. */
function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}
