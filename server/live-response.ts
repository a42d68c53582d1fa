/**
 * A response that is written while the client reads it. The next chunk is made when the one before has left, so that a
 * slow reader costs no memory; and a client that has gone never crashes anything.
 */
import type { Context } from "hono";
import type { ServerEnv } from "./app.ts";
import { nodeOf } from "./delivery.ts";

export interface LiveOptions {
  readonly type: "text/event-stream" | "application/json";
  readonly headers?: Readonly<Record<string, string>>;
  /** The headers and the first chunk have been handed over. */
  onBegun?(): void;
  /** The client went before the end. */
  onGone?(): void;
}

/** `write` must not throw: the status has long been sent. Its signal aborts when the client has gone. */
export function liveResponse(
  c: Context<ServerEnv>,
  write: (gone: AbortSignal) => AsyncGenerator<string>,
  options: LiveOptions,
): Response {
  const gone = new AbortController();
  const chunks = write(gone.signal);
  const encoder = new TextEncoder();
  let pulls = 0;
  let ended = false;

  const leave = () => {
    if (ended || gone.signal.aborted) return;
    gone.abort();
    // It waits for its next item, which the signal ends, or for a reader who will not come.
    chunks.return(undefined).catch(() => undefined);
    options.onGone?.();
  };
  const outgoing = nodeOf(c)?.outgoing;
  outgoing?.once("close", leave);
  if (outgoing?.destroyed) leave();

  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pulls += 1;
        if (pulls === 2) options.onBegun?.();
        const { done, value } = await chunks.next();
        ended = done === true;
        if (value === undefined) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
  return c.body(body, 200, {
    ...options.headers,
    "content-type": options.type,
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  });
}

/** In place of an item: nothing has come for a while. */
export const tick = Symbol("tick");

/**
 * The items of `source`, and a `tick` at once and then every `seconds`, whatever else happens: clients measure the
 * cadence and take silence for a dead socket.
 */
export async function* withTicks<T>(source: AsyncIterator<T>, seconds: number): AsyncGenerator<T | typeof tick> {
  let due = Promise.withResolvers<typeof tick>();
  const timer = setInterval(() => due.resolve(tick), seconds * 1_000);
  try {
    yield tick;
    let next = source.next();
    for (;;) {
      const first = await Promise.race([due.promise, next]);
      if (first === tick) {
        due = Promise.withResolvers();
        yield tick;
      } else if (first.done) {
        return;
      } else {
        yield first.value;
        next = source.next();
      }
    }
  } finally {
    clearInterval(timer);
    // Not awaited: a source that waits for its next item answers only after it.
    source.return?.().catch(() => undefined);
  }
}
