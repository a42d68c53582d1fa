/**
 * What a tool is: an input schema, what it does to the world, its limits. `effect` decides how a repetition after a
 * crash is handled, so it states the worst that the tool can do.
 */
import { z } from "zod";
import type { Config } from "../lib/config.ts";
import type { ReconcileContext, Reconciliation } from "../lib/effect.ts";
import type { HostPorts } from "../lib/host.ts";
import type { Narrowing } from "./sandbox/policy.ts";

/** `none`: it may run again. `idempotent`: repeating it with the same key changes nothing. `irreversible`: never twice. */
export type EffectKind = "none" | "idempotent" | "irreversible";

/** The globals that JavaScript of this thread has left, as a sandbox keeps them. */
export interface KeptGlobals {
  /** Empty where there are none yet. */
  readonly snapshot: Uint8Array;
  /** What the next call goes on from, if this one comes to a result. */
  leave(snapshot: Uint8Array): void;
}

export interface ToolContext {
  readonly threadId: string;
  readonly toolCallId: string;
  /** Aborted at the tool's time-out, when the run is cancelled, and when its worker lost the run. */
  readonly signal: AbortSignal;
  readonly host: HostPorts;
  readonly config: Config;
  /** What this run allows less than the tools' own policies do. */
  readonly sandbox?: Narrowing | undefined;
  /** The same for every attempt at this call with these arguments. */
  readonly idempotencyKey: string;
  /** Nothing may be sent after it; `signal` keeps it for you. By the clock of the database where the call has an effect. */
  readonly deadline: Date;
  /** For a tool that `keepsGlobals`; absent where nothing keeps them. */
  readonly globals?: KeptGlobals | undefined;
}

/** For the question whether an earlier attempt at a call happened. */
export type ReconcileToolContext = ToolContext & Pick<ReconcileContext, "dispatchedAt">;

export interface Tool<Input extends z.ZodType = z.ZodType> {
  readonly name: string;
  /** Read by the model: what it does, and what it does not do. */
  readonly description: string;
  readonly input: Input;
  readonly effect: EffectKind;
  /** Whether a person has to agree before each call. */
  readonly needsApproval: boolean;
  readonly timeoutMs: number;
  /**
   * Whether it works on the conversation's files (and then on nothing else in the world): it gets those of its step, and
   * what it did to them is kept with its result. Such calls of one thread take turns.
   */
  readonly usesFiles: boolean;
  /** Whether it goes on from the JavaScript globals of its step (and works on nothing else); it takes turns as above. */
  readonly keepsGlobals: boolean;
  /** Returns JSON. Throws `ToolFailure` for a failure whose text the model may read. */
  run(input: z.output<Input>, context: ToolContext): Promise<unknown>;
  /**
   * For `irreversible` tools: asks the other side, by the idempotency key, whether a call happened whose outcome was
   * lost, and changes nothing there. `result` is what `run` would have returned. Throwing means "unknown".
   */
  reconcile?(input: z.output<Input>, context: ReconcileToolContext): Promise<Reconciliation>;
}

const defaults = { needsApproval: false, timeoutMs: 10_000, usesFiles: false, keepsGlobals: false };

type ToolDefinition<Input extends z.ZodType> = Omit<Tool<Input>, keyof typeof defaults> &
  Partial<Pick<Tool<Input>, keyof typeof defaults>>;

export function defineTool<Input extends z.ZodType>(definition: ToolDefinition<Input>): Tool<Input> {
  return Object.freeze({ ...defaults, ...definition });
}

export type ToolErrorCode =
  | "TIMEOUT"
  | "INVALID_ARGS"
  | "INTERNAL"
  | "MAX_RETRIES"
  /** A rule of this installation forbids it; the same call will fail again. */
  | "DENIED"
  /** The tool could not do it, and did nothing. */
  | "FAILED"
  /** An earlier attempt was sent and nobody knows how it ended. A person has to look. */
  | "EFFECT_UNKNOWN";

/** A failure that the tool foresaw: nothing happened in the world, and the message is fit for a model and a user. */
export class ToolFailure extends Error {
  override readonly name = "ToolFailure";
  readonly code: "DENIED" | "FAILED";
  /** Whether the same call may succeed a moment later. */
  readonly transient: boolean;

  constructor(code: "DENIED" | "FAILED", message: string, { transient = false }: { transient?: boolean } = {}) {
    super(message);
    this.code = code;
    this.transient = transient;
  }
}

/** A tool as OpenAI-compatible endpoints, and LangChain's `bindTools`, take it. */
interface ToolSchema {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description: string;
    readonly parameters: Record<string, unknown>;
  };
}

/** Sorted by name: the order is part of the prompt, and a model server reuses only a prefix that is the same. */
export function toolSchemas(tools: readonly Tool[]): ToolSchema[] {
  return tools
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, description, input }) => {
      const { $schema: _, ...parameters } = z.toJSONSchema(input, { io: "input" });
      return { type: "function", function: { name, description, parameters } };
    });
}
