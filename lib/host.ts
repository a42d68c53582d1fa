/**
 * What a node may ask of the server that hosts its graph. A run's config carries one opaque string
 * (`<run_id>/<epoch>`), resolved here in a process-local map: an object would leak, since RemoteGraph posts
 * `configurable` to the other side and debug streams print it. Without a host the ports are in-memory ones, so a
 * graph file also works under other servers and in tests.
 */
import { randomUUID } from "node:crypto";
import { PawlError } from "./errors.ts";

/** The key in `config.configurable`. Every key that begins with `__` is stripped from streams and stored metadata. */
export const HOST_KEY = "__pawl_run";

export interface EffectContext {
  /** The same for every attempt at this effect: hand it to the other side so that it can tell a repetition. */
  readonly idempotencyKey: string;
  /** Aborted when the run is cancelled or its worker lost the lease: check it just before sending. */
  readonly signal: AbortSignal;
}

export interface Effect {
  /** Names the effect within its thread: the tool call's id, the task's id, a digest of the arguments. */
  readonly key: string;
  /** The tool or node that does it; for people who read the ledger. */
  readonly name: string;
  /** An `idempotent` effect whose outcome was lost is sent again under the same key; an `irreversible` one never is. */
  readonly kind: "idempotent" | "irreversible";
}

export interface HostPorts {
  /**
   * Runs `fn` once for a key; a repetition gets the stored result (JSON). Throws `effect_unknown` when an irreversible
   * effect was sent earlier and its outcome was never recorded, `durability_required` unless the run is `sync`.
   */
  effect<T>(effect: Effect, fn: (context: EffectContext) => Promise<T>): Promise<T>;
  now(): Date;
  /** A number in [0, 1). `name` tells the draws of one node apart. */
  random(name: string): number;
  /** A fresh UUID. `name` tells the ids of one node apart. */
  id(name: string): string;
}

const hosts = new Map<string, HostPorts>();
/** Whether this process hosts runs; other servers execute the same graph files, and know no tokens. */
let isHosting = false;

/** Offers `ports` to the nodes of one run until the returned function is called. */
export function offerHost(token: string, ports: HostPorts): () => void {
  isHosting = true;
  hosts.set(token, ports);
  return () => void hosts.delete(token);
}

/** The ports for the run that `config` (a node's runtime or a tool's config) belongs to. */
export function hostOf(config: { configurable?: Record<string, unknown> | undefined } | undefined): HostPorts {
  const token = config?.configurable?.[HOST_KEY];
  const memory = unhosted(String(config?.configurable?.["thread_id"]));
  if (typeof token !== "string" || !isHosting) return memory;
  return hosts.get(token) ?? { ...memory, effect: refuseEffect };
}

/** A task that its run has left behind, because it ignored its signal, does nothing to the world any more. */
function refuseEffect({ name }: Effect): Promise<never> {
  return Promise.reject(new PawlError("lease_lost", `The run is over: ${name} is not executed`));
}

const remembered = new Map<string, Promise<unknown>>();

/** For graphs that run outside Pawl: effects are remembered for the life of the process only. */
function unhosted(threadId: string): HostPorts {
  return {
    effect<T>(effect: Effect, fn: (context: EffectContext) => Promise<T>): Promise<T> {
      const idempotencyKey = `${threadId}:${effect.key}`;
      const earlier = remembered.get(idempotencyKey);
      if (earlier) return earlier as Promise<T>;
      const outcome = fn({ idempotencyKey, signal: new AbortController().signal });
      remembered.set(idempotencyKey, outcome);
      // What may be sent again need not be remembered as failed.
      if (effect.kind === "idempotent") outcome.catch(() => remembered.delete(idempotencyKey));
      return outcome;
    },
    now: () => new Date(),
    random: () => Math.random(),
    id: () => randomUUID(),
  };
}
