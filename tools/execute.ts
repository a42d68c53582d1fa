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
import { isPawlError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { failed, succeeded, type ToolOutcome } from "./result.ts";
import { type Tool, type ToolContext, ToolFailure } from "./tool.ts";

/** For failures that the tool calls transient; never for time-outs, bad arguments or irreversible effects. */
const maxAttempts = 3;
const firstDelayMs = 100;

export type ExecuteContext = Pick<ToolContext, "threadId" | "toolCallId" | "signal" | "host"> & {
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
  if (tool.effect === "none") return call.run(key, context.signal);
  try {
    return await context.host.effect({ key, name: tool.name, kind: tool.effect }, ({ idempotencyKey, signal }) =>
      call.run(idempotencyKey, signal),
    );
  } catch (error) {
    if (call.isUnsettled(error) || isPawlError(error, "effect_unknown"))
      return failed("EFFECT_UNKNOWN", unknownOutcome(tool));
    throw error;
  }
}

class Call {
  readonly #tool: Tool;
  readonly #input: unknown;
  readonly #context: ExecuteContext & { readonly config: Config };
  /** What the tool itself threw, to tell it from what the host throws. */
  #unsettled: unknown;

  constructor(tool: Tool, input: unknown, context: ExecuteContext) {
    this.#tool = tool;
    this.#input = input;
    this.#context = { ...context, config: context.config ?? config() };
  }

  isUnsettled(error: unknown): boolean {
    return error !== undefined && error === this.#unsettled;
  }

  async run(idempotencyKey: string, hostSignal: AbortSignal): Promise<ToolOutcome> {
    const outer = AbortSignal.any([this.#context.signal, hostSignal]);
    try {
      return await within(this.#tool.timeoutMs, outer, (signal) =>
        this.#attempt({ ...this.#context, signal, idempotencyKey }),
      );
    } catch (error) {
      outer.throwIfAborted();
      if (isGraphBubbleUp(error) || isAboutTheRun(error)) throw error;
      return this.#unforeseen(error);
    }
  }

  async #attempt(context: ToolContext): Promise<ToolOutcome> {
    for (let attempt = 1; ; attempt++) {
      try {
        return succeeded(await this.#tool.run(this.#input, context));
      } catch (error) {
        if (!(error instanceof ToolFailure)) throw error;
        if (!error.transient || this.#tool.effect === "irreversible") return failed(error.code, error.message);
        if (attempt === maxAttempts) return failed("MAX_RETRIES", `${error.message} (${maxAttempts} attempts)`);
        await delay(firstDelayMs * 2 ** (attempt - 1), undefined, { signal: context.signal });
      }
    }
  }

  #unforeseen(error: unknown): ToolOutcome {
    const { name, effect, timeoutMs } = this.#tool;
    const isTimeout = error instanceof ToolTimeout;
    if (!isTimeout) {
      if (isPawlError(error, "sandbox_denied") || isPawlError(error, "tool_denied"))
        return failed("DENIED", error.message);
      createLog(this.#context.config.logLevel).error(
        { error, tool: name },
        "A tool failed in a way it did not foresee",
      );
    }
    if (effect === "irreversible") {
      this.#unsettled = error;
      throw error;
    }
    return isTimeout
      ? failed("TIMEOUT", `${name} did not finish within ${timeoutMs} ms`)
      : failed("INTERNAL", `${name} failed for a reason of its own; the operator's log has it`);
  }
}

class ToolTimeout extends Error {}

/** Settles at the deadline or the abort even if `work` never does and ignores its signal. */
async function within<T>(timeoutMs: number, outer: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = new AbortController();
  const signal = AbortSignal.any([outer, deadline.signal]);
  signal.throwIfAborted();
  const timer = setTimeout(() => deadline.abort(new ToolTimeout()), timeoutMs);
  const ended = Promise.withResolvers<never>();
  const onAbort = (): void => ended.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work(signal), ended.promise]);
  } catch (error) {
    // Whatever a tool makes of the abort of its own signal, the cause is the deadline.
    throw deadline.signal.aborted ? deadline.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function isAboutTheRun(error: unknown): boolean {
  return isPawlError(error, "lease_lost") || isPawlError(error, "shutting_down");
}

function unknownOutcome(tool: Tool): string {
  return `${tool.name} was sent, and whether it happened is not known. Do not repeat it; a person has to look.`;
}
