/** The two forms in which a run is followed: as server-sent events, and as one JSON value at its end. */
import { isPawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { StreamMode, type RunEvent, type RunOutcome } from "../runs/index.ts";
import { tick, withTicks } from "./live-response.ts";
import { toRunError } from "./problem.ts";

/** Seconds between two keep-alive bytes of an answer that waits for the end of a run. */
const KEEP_ALIVE_SECONDS = 1;

interface FollowOptions {
  readonly log: Log;
  readonly heartbeatSeconds: number;
  /** Only events of these modes; all if absent. */
  readonly modes?: readonly StreamMode[];
  /** Called after each event that was handed over: a reader who is cut off from here on knows where it was. */
  readonly onEvent?: (() => void) | undefined;
}

/** Server-sent events. `open` may fail: the stream has begun by then, so it ends with an `error` event. */
export async function* asEventStream(
  open: () => Promise<AsyncIterable<RunEvent>>,
  gone: AbortSignal,
  { log, heartbeatSeconds, modes, onEvent }: FollowOptions,
): AsyncGenerator<string> {
  try {
    for await (const item of withTicks(opened(open), heartbeatSeconds)) {
      // No empty line behind the comment: the stock SDK makes an event of it once it has seen an id.
      if (item === tick) yield ": heartbeat\n";
      else if (!modes || isOfMode(modes, item.event)) {
        yield frame(item);
        onEvent?.();
      }
    }
  } catch (error) {
    if (gone.aborted) return;
    if (!isPawlError(error)) log.error({ error }, "An event stream broke off");
    yield frame({ event: "error", data: toRunError(error) });
  }
}

/** JSON after white space: one byte at once, so that the client has its headers, and one each second against time-outs. */
export async function* asFinalValues(
  outcome: () => Promise<RunOutcome>,
  gone: AbortSignal,
  log: Log,
): AsyncGenerator<string> {
  for await (const item of withTicks(resolved(outcome, gone, log), KEEP_ALIVE_SECONDS)) {
    if (item === tick) yield "\n";
    else yield JSON.stringify(item.error ? { __error__: item.error } : (item.values ?? null));
  }
}

async function* opened(open: () => Promise<AsyncIterable<RunEvent>>): AsyncGenerator<RunEvent> {
  yield* await open();
}

async function* resolved(outcome: () => Promise<RunOutcome>, gone: AbortSignal, log: Log) {
  try {
    yield await outcome();
  } catch (error) {
    if (gone.aborted) return;
    if (!isPawlError(error)) log.error({ error }, "Waiting for a run broke off");
    yield { values: null, error: toRunError(error) };
  }
}

function frame({ id, event, data }: Omit<RunEvent, "id"> & { id?: string }): string {
  const name = event.replaceAll(/[\r\n]/g, " ");
  const lines = `event: ${name}\ndata: ${JSON.stringify(data ?? null)}\n`;
  return id === undefined ? `${lines}\n` : `${lines}id: ${id}\n\n`;
}

/** `messages|ns` is what the mode messages-tuple emits, `messages/partial` and its like what the mode messages does. */
function isOfMode(modes: readonly StreamMode[], event: string): boolean {
  const name = event.split("|", 1)[0]!;
  if (name === "messages") return modes.includes("messages-tuple");
  const mode = StreamMode.safeParse(name.split("/", 1)[0]);
  return !mode.success || modes.includes(mode.data);
}
