/**
 * What the graphs of the harness have in common. Each step leaves one entry, `<plan>/<step>`, in a log that only grows:
 * in the end the log says which steps were lost and which were taken twice.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Annotation, type LangGraphRunnableConfig } from "@langchain/langgraph";
import { isPawlError } from "../../../../lib/errors.ts";
import { hostOf } from "../../../../lib/host.ts";

export const State = Annotation.Root({
  /** Name of the plan that the run belongs to. */
  plan: Annotation<string>,
  /** Milliseconds that a step takes. */
  ms: Annotation<number>,
  /** Where effects go. */
  side: Annotation<string>,
  log: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

export type StateOf = typeof State.State;

export const pause = (ms: number, { signal }: LangGraphRunnableConfig): Promise<void> =>
  delay(ms, undefined, signal ? { signal } : {});

/** A node that takes its time and leaves its entry. */
export function step(name: string) {
  return async ({ plan, ms }: StateOf, config: LangGraphRunnableConfig) => {
    config.writer?.({ entered: name });
    await pause(ms, config);
    return { log: [`${plan}/${name}`] };
  };
}

export interface EffectOf {
  readonly name: string;
  readonly kind: "idempotent" | "irreversible";
}

/** Does something to the other side, and returns the entry that says how it went: `<plan>/<name>:done` or `:unknown`. */
export async function act(
  { plan, side }: Pick<StateOf, "plan" | "side">,
  effect: EffectOf,
  config: LangGraphRunnableConfig,
): Promise<string> {
  const entry = `${plan}/${effect.name}`;
  const send = (idempotencyKey: string, signal: AbortSignal) =>
    postTo(side, { name: entry, kind: effect.kind }, { idempotencyKey, signal });
  try {
    await hostOf(config).effect({ key: entry, name: effect.name, kind: effect.kind }, async (context) => {
      try {
        return await send(context.idempotencyKey, context.signal);
      } catch (error) {
        // As a tool does that may send again: once, under the same key.
        if (effect.kind === "irreversible" || context.signal.aborted) throw error;
        return send(context.idempotencyKey, context.signal);
      }
    });
    return `${entry}:done`;
  } catch (error) {
    if (effect.kind === "irreversible" && (isPawlError(error, "effect_unknown") || isHangUp(error))) {
      return `${entry}:unknown`;
    }
    throw error;
  }
}

/** Has the other side do something, and returns its receipt. */
export async function postTo(side: string, body: object, send: { idempotencyKey: string; signal: AbortSignal }) {
  const response = await fetch(side, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": send.idempotencyKey },
    body: JSON.stringify(body),
    signal: send.signal,
  });
  return (await response.json()) as { receipt: string };
}

/** The other side took the request and did not answer: `fetch` says so by a `TypeError`. */
function isHangUp(error: unknown): boolean {
  return error instanceof TypeError && error.message === "fetch failed";
}
