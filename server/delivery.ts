/**
 * Whether a client has got the answer to the POST that created a run.
 *
 * The stock SDK sends a POST again when its socket dropped before the answer; the second one must find the first run.
 * HTTP has no receipt, so this is what one side can see: the bytes were handed to the kernel, and the socket's end had
 * not arrived by then. A client that has gone sent its FIN before we were finished.
 */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { ServerEnv } from "./app.ts";

type C = Context<ServerEnv>;

/** Node's own request and response; absent under `app.request()`, which Hono's types do not know. */
export function nodeOf(c: C): HttpBindings | undefined {
  return c.env;
}

/** Calls `then` once, when the whole answer has gone out or the client has. */
export function onAnswered(c: C, then: (wasDelivered: boolean) => void): void {
  const outgoing = nodeOf(c)?.outgoing;
  if (!outgoing) return then(true);
  if (outgoing.destroyed) return then(false);
  const lost = () => then(false);
  outgoing.once("close", lost);
  outgoing.once("finish", () => {
    outgoing.off("close", lost);
    onPresence(c, then);
  });
}

/** Calls `then` with whether the client has hung up, as far as the kernel knows now. */
export function onPresence(c: C, then: (isPresent: boolean) => void): void {
  const socket = nodeOf(c)?.incoming.socket;
  if (!socket) return then(true);
  // The first turn of the event loop reads what has arrived on the socket, the second comes after its events.
  setImmediate(() => setImmediate(() => then(!socket.destroyed && !socket.readableEnded && socket.writable)));
}

/** Waits for no longer than the client does; who has gone needs no answer, and is no error. */
export async function whileConnected(
  c: Context<ServerEnv>,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { signal } = c.req.raw;
  await work(signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
