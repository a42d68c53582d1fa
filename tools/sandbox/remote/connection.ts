/** HTTP to the other side. Whatever it says is bounded and checked; what it does not say in time did not happen. */
import { PawlError } from "../../../lib/errors.ts";
import { headAndTail, plainText } from "../output.ts";
import { Line, type RunBody, runPath, Sandboxes, sandboxesPath, silenceMs } from "./protocol.ts";

/** For a question that needs no code to run. */
const answerMs = 5_000;
/** A cancelled run waits this long for the other side to say that it killed it. */
const killMs = 900;
const maxListing = 64 * 1_024;

/** The other side is away, or does not keep to the protocol. Its message is fit for a model. */
export class RemoteFailure extends Error {}

export interface Remote {
  readonly url: string;
  readonly token: string;
}

/** Throws `RemoteFailure`. */
export async function listSandboxes(remote: Remote): Promise<Sandboxes["sandboxes"]> {
  const response = await ask(remote, sandboxesPath, { signal: AbortSignal.timeout(answerMs) });
  let text = "";
  for await (const line of linesOf(response, maxListing)) text += line;
  const parsed = Sandboxes.safeParse(orUndefined(text));
  if (!parsed.success) throw new RemoteFailure("The remote sandbox does not say what it runs");
  return parsed.data.sandboxes;
}

/** Throws `RemoteFailure` for a side that would run anybody's code. */
export async function requireGuarded({ url }: Remote): Promise<void> {
  const response = await request({ url, token: "" }, sandboxesPath, { signal: AbortSignal.timeout(answerMs) });
  await response.body?.cancel();
  if (response.status !== 401) throw new RemoteFailure("The remote sandbox answers without the token");
}

interface RemoteRun {
  readonly id: string;
  readonly body: RunBody;
  /** Of the whole answer. */
  readonly maxBytes: number;
  /** Ends it, here and there. */
  readonly signal: AbortSignal;
}

/** The lines of a run, until its `end`. Throws `RemoteFailure`, and the reason of `signal`. */
export async function* runRemotely(remote: Remote, { id, body, maxBytes, signal }: RemoteRun): AsyncGenerator<Line> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), silenceMs);
  let isOver = false;
  try {
    const response = await ask(remote, runPath(id), {
      method: "PUT",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    for await (const text of linesOf(response, maxBytes)) {
      timer.refresh();
      const line = Line.safeParse(orUndefined(text));
      if (!line.success) throw new RemoteFailure("The remote sandbox said something that is not of the protocol");
      isOver = line.data.type === "end";
      yield line.data;
      if (isOver) return;
    }
    throw new RemoteFailure("The remote sandbox broke off");
  } catch (error) {
    signal.throwIfAborted();
    if (silence.signal.aborted) throw new RemoteFailure("The remote sandbox went silent");
    throw error;
  } finally {
    clearTimeout(timer);
    if (!isOver) await kill(remote, id);
  }
}

/** Best effort: the connection is closed too, and the other side has its own clock. */
async function kill(remote: Remote, id: string): Promise<void> {
  const options = { method: "DELETE", signal: AbortSignal.timeout(killMs) };
  await ask(remote, runPath(id), options).then(
    (response) => response.body?.cancel(),
    () => {},
  );
}

async function ask(remote: Remote, path: string, options: Options): Promise<Response> {
  const response = await request(remote, path, options);
  if (response.ok) return response;
  const said = response.status === 403 || response.status === 503 ? await firstWords(response) : "";
  await response.body?.cancel().catch(() => {});
  throw new RemoteFailure(`The remote sandbox refused (${response.status})${said && `: ${said}`}`);
}

async function firstWords(response: Response): Promise<string> {
  try {
    for await (const line of linesOf(response, 4_096)) return headAndTail(plainText(line), 300);
  } catch {
    // Its reason is only a help.
  }
  return "";
}

type Options = Pick<RequestInit, "method" | "body" | "signal"> & {
  readonly headers?: Readonly<Record<string, string>>;
};

async function request({ url, token }: Remote, path: string, options: Options): Promise<Response> {
  const base = url.replace(/\/$/, "");
  try {
    return await fetch(`${base}${path}`, {
      ...options,
      headers: {
        ...options.headers,
        ...(token && { authorization: `Bearer ${token}` }),
        // One that was kept may be closed by the other side just as we write, and a run is not sent twice.
        connection: "close",
      },
      // A redirect would take the token, and the code, somewhere else.
      redirect: "error",
    });
  } catch (error) {
    if (options.signal?.aborted && !isTimeout(options.signal)) throw error;
    throw new RemoteFailure("The remote sandbox cannot be reached");
  }
}

const isTimeout = (signal: AbortSignal): boolean => (signal.reason as Error | undefined)?.name === "TimeoutError";

/** Throws `RemoteFailure` for more than `maxBytes`, and when the connection breaks. */
async function* linesOf({ body }: Response, maxBytes: number): AsyncGenerator<string> {
  if (!body) return;
  const decoder = new TextDecoder();
  let total = 0;
  // In pieces: a line may be tens of megabytes, and a string that grows by each chunk would be copied each time.
  let line: string[] = [];
  for await (const chunk of chunksOf(body)) {
    total += chunk.length;
    if (total > maxBytes) throw new RemoteFailure("The remote sandbox said too much");
    const [first = "", ...more] = decoder.decode(chunk, { stream: true }).split("\n");
    line.push(first);
    for (const next of more) {
      if (line.some((piece) => piece !== "")) yield line.join("");
      line = [next];
    }
  }
  if (line.some((piece) => piece !== "")) yield line.join("");
}

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch {
    throw new RemoteFailure("The remote sandbox broke off");
  }
}

function orUndefined(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Throws `sandbox_denied`, with what is missing, unless both settings are there. */
export function remoteOf({ url, token }: { url?: string | undefined; token?: string | undefined }): Remote {
  if (url === undefined) throw new PawlError("sandbox_denied", "PAWL_SANDBOX_REMOTE_URL is not set");
  if (token === undefined) throw new PawlError("sandbox_denied", "PAWL_SANDBOX_REMOTE_TOKEN is not set");
  return { url, token };
}
