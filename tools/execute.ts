/**
 * Runs one tool call to a result that a model can read. What the tool did to the world goes through the host's
 * ledger; the time-out stands inside the ledger's call, so that an effect which ran out of time is recorded as one
 * whose outcome nobody knows, and is not forgotten.
 */
import { setTimeout as delay } from "node:timers/promises";
import { isGraphBubbleUp } from "@langchain/langgraph";
import { z } from "zod";
import { type Config, config } from "../lib/config.ts";
import { jsonDigest } from "../lib/digest.ts";
import type { Effect, EffectContext, ReconcileContext, Reconciliation, UnknownEffect } from "../lib/effect.ts";
import { isPawlError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { failed, succeeded, type ToolOutcome } from "./result.ts";
import { ToolTimeout, within } from "./time-out.ts";
import { type Step, withStepFiles } from "./step-files.ts";
import { withStepGlobals } from "./step-globals.ts";
import { type KeptGlobals, type Tool, type ToolContext, ToolFailure } from "./tool.ts";

/** For failures that the tool calls transient; never for time-outs, bad arguments or irreversible effects. */
const maxAttempts = 3;
const firstDelayMs = 100;
/** How long a tool that works on files may go on after its time before the next one gets them. */
const maxLingerMs = 5_000;

export type ExecuteContext = Pick<ToolContext, "threadId" | "toolCallId" | "signal" | "host" | "sandbox"> & {
  readonly config?: Config;
};

/**
 * Throws only what is about the run and not about the tool: a graph's interrupt, the abort of `context.signal`, and
 * what the host throws (a lost lease, a database that is away).
 */
export async function executeTool(tool: Tool, rawArgs: unknown, context: ExecuteContext): Promise<ToolOutcome> {
  const input = tool.input.safeParse(rawArgs);
  if (!input.success) return failed("INVALID_ARGS", z.prettifyError(input.error));
  const key = `${context.toolCallId}:${jsonDigest(rawArgs)}`;
  const call = new Call(tool, input.data, context);
  const files = tool.usesFiles || tool.keepsGlobals ? call.context.host.files : undefined;
  if (!files) return perform(call, key);
  const of = { files, context: call.context };
  const inStep = async (step?: Step): Promise<ToolOutcome> => {
    try {
      return await perform(call, key, step);
    } finally {
      await call.ended();
    }
  };
  if (tool.usesFiles) return withStepFiles(of, inStep);
  return withStepGlobals(of, (step) => {
    call.globals = step;
    return inStep(step);
  });
}

async function perform(call: Call, key: string, step?: Step): Promise<ToolOutcome> {
  const { tool, context } = call;
  if (tool.effect === "none") {
    const deadline = new Date(context.host.now().getTime() + tool.timeoutMs);
    return call.run({ idempotencyKey: key, deadline, signal: context.signal });
  }
  try {
    return await context.host.effect(call.effect(key, tool.effect, step), async (effect) => {
      const outcome = await call.run(effect);
      if (!step) return outcome;
      await call.ended();
      return step.keep(outcome);
    });
  } catch (error) {
    return call.outcomeOf(error);
  }
}

class Call {
  readonly tool: Tool;
  readonly context: ExecuteContext & { readonly config: Config };
  globals: KeptGlobals | undefined;
  readonly #input: unknown;
  #work: Promise<unknown> = Promise.resolve();

  constructor(tool: Tool, input: unknown, context: ExecuteContext) {
    this.tool = tool;
    this.#input = input;
    this.context = { ...context, config: context.config ?? config() };
  }

  /** When the tool has really ended, which a call that ran out of time does not wait for; or does not seem to. */
  async ended(): Promise<void> {
    await Promise.race([this.#work.catch(() => {}), delay(maxLingerMs, undefined, { ref: false })]);
  }

  effect(key: string, kind: "idempotent" | "irreversible", step?: Step): Effect<ToolOutcome> {
    const { name, timeoutMs } = this.tool;
    return {
      key,
      name,
      kind,
      toolCallId: this.context.toolCallId,
      timeoutMs,
      isFailure: ({ status }) => status === "error",
      ...(step && { changeOfFiles: () => step.change }),
      reconcile: (context) => this.#reconcile(context),
    };
  }

  async run(effect: EffectContext): Promise<ToolOutcome> {
    const outer = AbortSignal.any([this.context.signal, effect.signal]);
    try {
      return await within(this.tool.timeoutMs, outer, (signal) => {
        const work = this.#attempt({ ...this.context, ...effect, signal, globals: this.globals });
        this.#work = work;
        return work;
      });
    } catch (error) {
      outer.throwIfAborted();
      if (isAboutTheRun(error)) throw error;
      return this.#unforeseen(error);
    }
  }

  /** What the ledger threw. */
  outcomeOf(error: unknown): ToolOutcome {
    this.context.signal.throwIfAborted();
    if (error instanceof Unforeseen) return error.outcome;
    if (!isPawlError(error, "effect_unknown")) throw error;
    if (isAboutTheRun(error.cause)) throw error.cause;
    const effect = error.facts as unknown as UnknownEffect;
    const sent = `${this.tool.name} was sent, and whether it happened is not known.`;
    if (!effect.abandoned)
      return { ...failed("EFFECT_UNKNOWN", `${sent} Do not repeat it; a person has to look.`), effect };
    const remark = effect.abandoned.message === undefined ? "" : ` The reviewer says: ${effect.abandoned.message}`;
    return failed("EFFECT_UNKNOWN", `${sent} A reviewer decided to leave it so. Do not repeat it.${remark}`);
  }

  async #reconcile(context: ReconcileContext): Promise<Reconciliation<ToolOutcome>> {
    if (!this.tool.reconcile) return { happened: "unknown" };
    const outer = AbortSignal.any([this.context.signal, context.signal]);
    try {
      const said = await within(this.tool.timeoutMs, outer, (signal) =>
        // A promise at once: a hook may throw before it returns one.
        (async () => this.tool.reconcile?.(this.#input, { ...this.context, ...context, signal }))(),
      );
      if (said?.happened === true) return { happened: true, result: succeeded(said.result) };
      return said?.happened === false ? said : { happened: "unknown" };
    } catch (error) {
      outer.throwIfAborted();
      this.#log(error, "A tool could not find out whether its call happened");
      return { happened: "unknown" };
    }
  }

  async #attempt(context: ToolContext): Promise<ToolOutcome> {
    for (let attempt = 1; ; attempt++) {
      try {
        return succeeded(await this.tool.run(this.#input, context));
      } catch (error) {
        if (!(error instanceof ToolFailure)) throw error;
        if (!error.transient || this.tool.effect === "irreversible") return failed(error.code, error.message);
        if (attempt === maxAttempts) return failed("MAX_RETRIES", `${error.message} (${maxAttempts} attempts)`);
        await delay(firstDelayMs * 2 ** (attempt - 1), undefined, { signal: context.signal });
      }
    }
  }

  #unforeseen(error: unknown): ToolOutcome {
    const { name, effect, timeoutMs } = this.tool;
    const isTimeout = error instanceof ToolTimeout;
    if (!isTimeout) {
      if (isPawlError(error, "sandbox_denied") || isPawlError(error, "tool_denied"))
        return failed("DENIED", error.message);
      this.#log(error, "A tool failed in a way it did not foresee");
    }
    const outcome = isTimeout
      ? failed("TIMEOUT", `${name} did not finish within ${timeoutMs} ms`)
      : failed("INTERNAL", `${name} failed for a reason of its own; the operator's log has it`);
    if (effect === "irreversible") throw new Unforeseen(outcome);
    return outcome;
  }

  #log(error: unknown, message: string): void {
    createLog(this.context.config.logLevel).error({ error, tool: this.tool.name }, message);
  }
}

/** Thrown to the ledger, which has to find out whether anything happened; nothing did where it comes back. */
class Unforeseen extends Error {
  readonly outcome: ToolOutcome;

  constructor(outcome: ToolOutcome) {
    super("The tool failed in a way it did not foresee");
    this.outcome = outcome;
  }
}

function isAboutTheRun(error: unknown): boolean {
  return isGraphBubbleUp(error) || isPawlError(error, "lease_lost") || isPawlError(error, "shutting_down");
}
