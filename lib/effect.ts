/**
 * What an effect on the world outside is, and the states of its row: the terms between those who cause effects (tools,
 * nodes) and those who keep the ledger. `EffectLedger` runs them.
 */

import type { FileChange } from "./file-versions.ts";

export interface EffectContext {
  /** The same for every attempt at this effect: hand it to the other side so that it can tell a repetition. */
  readonly idempotencyKey: string;
  /** Nothing may be sent after it. By the clock of the ledger's database; the signal keeps it for you. */
  readonly deadline: Date;
  /** Aborted at the deadline, when the run is cancelled and when its worker lost the lease: check it just before sending. */
  readonly signal: AbortSignal;
}

export interface ReconcileContext extends EffectContext {
  readonly dispatchedAt: Date;
}

/** What the other side says. `false` counts only once the deadline has passed: a late send could still land. */
export type Reconciliation<T = unknown> =
  | { readonly happened: true; readonly result: T }
  | { readonly happened: false }
  | { readonly happened: "unknown" };

export interface Effect<T = unknown> {
  /** Names the effect within its thread: the tool call's id, the task's id, a digest of the arguments. */
  readonly key: string;
  /** The tool or node that does it; for people who read the ledger. */
  readonly name: string;
  /** An `idempotent` effect whose outcome was lost is sent again under the same key; an `irreversible` one never is. */
  readonly kind: "idempotent" | "irreversible";
  readonly toolCallId?: string;
  /** How long one attempt may take, in milliseconds. Default: a minute. */
  readonly timeoutMs?: number;
  /** Whether `result` says that nothing happened. Another task may then try again. */
  isFailure?(result: T): boolean;
  /**
   * For an effect on the thread's files and on nothing else: what `fn` did to them, recorded with its result. The files
   * of a fork are other ones, so another task does not take the result over but does it again.
   */
  changeOfFiles?(): FileChange | undefined;
  /** Asks the other side about an irreversible effect whose outcome was lost. */
  reconcile?(context: ReconcileContext): Promise<Reconciliation<T>>;
}

/**
 * - `reserved`: nothing was sent.
 * - `dispatched`: it may have been sent, and may still be.
 * - `committed`: it happened, and this is its result.
 * - `failed`: nothing happened in the world, or it may be repeated.
 * - `unknown`: it may have happened; only a person, or the other side, can tell.
 */
export type EffectState = "reserved" | "dispatched" | "committed" | "failed" | "unknown";

/** From which states one may come. `failed` is reserved anew with a statement of its own. */
export const cameFrom: Readonly<Record<Exclude<EffectState, "dispatched">, readonly EffectState[]>> = {
  reserved: ["dispatched", "unknown"],
  committed: ["dispatched", "unknown"],
  failed: ["reserved", "dispatched"],
  unknown: ["dispatched"],
};

/** `abandon`: it stays unknown, and is not sent. `unclear`: the answer was none. */
export type EffectDecision = "happened" | "not_happened" | "abandon" | "unclear";

export interface EffectAnswer {
  readonly decision: EffectDecision;
  /** With `happened`: JSON, in the form of the effect's own result. */
  readonly result?: unknown;
  /** With `abandon` a remark of the person, with `unclear` one for the person. */
  readonly message?: string | undefined;
}

/** An irreversible effect of unknown outcome, as one task sees it. JSON: the facts of an error `effect_unknown`. */
export interface UnknownEffect {
  readonly key: string;
  readonly idempotency_key: string;
  /** Counts the dispatches; what is answered is the last one's outcome. */
  readonly attempt: number;
  /** ISO 8601, by the database's clock. */
  readonly dispatched_at: string;
  readonly deadline: string;
  /** How many answers of this task the ledger has, those that did not count included. */
  readonly answers: number;
  /** How many of them, about this attempt, could not be read. */
  readonly unclear: number;
  /** Why the last answer did not count. */
  readonly refusal?: string;
  /** This task was told to leave it. */
  readonly abandoned?: { readonly message?: string };
}

/** What the ledger knows about a tool call. */
export interface KnownEffect {
  readonly toolCallId: string;
  readonly state: EffectState;
  /** Of a committed or failed one, if it has one. */
  readonly result?: unknown;
}
