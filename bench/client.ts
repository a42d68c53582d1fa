/** The Agent Server API as far as it is measured, over `fetch`, which keeps its connections alive. */
import { randomUUID } from "node:crypto";

/** What the graphs start from. */
export const input = { text: "Where does the time go?" };

/** Executes a run of `assistant` on a fresh thread, to its end. */
export async function runToEnd(url: string, assistant: string): Promise<void> {
  const response = await post(`${url}/threads/${randomUUID()}/runs/wait`, assistant);
  const values = (await response.json()) as { text?: unknown } | null;
  if (values?.text !== input.text) throw new Error(`The run did not succeed: ${JSON.stringify(values)}`);
}

export interface StreamTimes {
  /** Milliseconds from the request to the first event. */
  readonly first: number;
  /** Milliseconds from the last event to the end of the stream. */
  readonly tail: number;
}

/** The same, streamed. Heartbeats and other comments are no events. */
export async function streamRun(url: string, assistant: string): Promise<StreamTimes> {
  const begin = performance.now();
  const response = await post(`${url}/threads/${randomUUID()}/runs/stream`, assistant);
  let first: number | undefined;
  let last = begin;
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (!/^event:/m.test(chunk)) continue;
    last = performance.now();
    first ??= last - begin;
  }
  if (first === undefined || /^event: error/m.test(text)) throw new Error(`The run did not succeed: ${text}`);
  return { first, tail: performance.now() - last };
}

async function post(url: string, assistant: string): Promise<Response> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ assistant_id: assistant, input, if_not_exists: "create" }),
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response;
}
