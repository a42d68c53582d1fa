/** Runs of the graph that makes the calls which a test asks for (graphs/files.ts). */
import { expect } from "vitest";
import type { RunId, ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCreate } from "../../runs/index.ts";
import type { Call } from "./graphs/files.ts";
import type { RunsHost } from "./runs.ts";

export interface Place {
  readonly on: RunsHost;
  readonly threadId: ThreadId;
}

const never = new AbortController().signal;
let made = 0;

/** Makes the calls in one step; the results in their order. Null goes on from where the thread stands. */
export async function makeCalls(
  { on, threadId }: Place,
  calls: readonly Call[] | null,
  body: Partial<RunCreate> = {},
): Promise<{ runId: RunId; log: { result: unknown }[]; last: unknown }> {
  const input = calls && { calls: calls.map((call) => ({ ...call, id: `call-${(made += 1)}` })) };
  const { run_id } = await on.create(threadId, { input, ...body });
  const ended = await on.runs.join(localPrincipal, { runId: run_id }, never);
  expect(ended, JSON.stringify(ended)).toMatchObject({ status: "success" });
  const { log } = (ended as { values: { log: { result: unknown }[] } }).values;
  return { runId: run_id, log, last: log.at(-1)?.result };
}
