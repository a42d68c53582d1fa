/**
 * What a node may ask of the server that hosts its graph. A run's config carries one opaque string
 * (`<run_id>/<epoch>`), resolved here in a process-local map: an object would leak, since RemoteGraph posts
 * `configurable` to the other side and debug streams print it. Without a host the ports are in-memory ones, so a
 * graph file also works under other servers and in tests.
 */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Effect, EffectAnswer, EffectContext, KnownEffect, UnknownEffect } from "./effect.ts";
import { EffectLedger } from "./effect-ledger.ts";
import { EffectsInMemory } from "./effects-in-memory.ts";
import { PawlError } from "./errors.ts";
import type { FileVersions } from "./file-versions.ts";

/** The key in `config.configurable`. Every key that begins with `__` is stripped from streams and stored metadata. */
export const HOST_KEY = "__pawl_run";
/** Where LangGraph says which task runs: the same after a crash and an answer, another one on a fork. */
const TASK_KEY = "__pregel_task_id";
/** Where it says which checkpoints a task goes on from, by namespace. */
const CheckpointMap = z.object({ "": z.string() });

export interface HostPorts {
  /**
   * Runs `fn` once for a key; a repetition gets the stored result (JSON). Throws `effect_unknown` (facts: `UnknownEffect`)
   * when an irreversible effect was sent and its outcome was never recorded, also when `fn` has just failed (then its
   * error is the `cause`), and `durability_required` unless the run is `sync`.
   */
  effect<T>(effect: Effect<T>, fn: (context: EffectContext) => Promise<T>): Promise<T>;
  /** Records what a person said about it. The next `effect` with its key shows what follows, or what was refused. */
  answerEffect(about: UnknownEffect, answer: EffectAnswer): Promise<void>;
  /** What the ledger knows about these tool calls of the thread. */
  knownEffects(toolCallIds: readonly string[]): Promise<KnownEffect[]>;
  /** The thread's files as the task's step has them. Absent without a host: then the folder is all there is. */
  readonly files?: FileVersions | undefined;
  now(): Date;
  /** A number in [0, 1). `name` tells the draws of one node apart. */
  random(name: string): number;
  /** A fresh UUID. `name` tells the ids of one node apart. */
  id(name: string): string;
}

/** The part of a host that keeps the ledger; the rest is the same wherever a node runs. */
export interface Host extends Omit<HostPorts, "effect" | "answerEffect" | "knownEffects" | "files"> {
  readonly ledger: Pick<EffectLedger, "perform" | "answer" | "known">;
  /** `checkpointId`: of the outermost graph; empty before there is one. */
  files?(checkpointId: string): FileVersions;
}

const hosts = new Map<string, Host>();
/** Whether this process hosts runs; other servers execute the same graph files, and know no tokens. */
let isHosting = false;

/** Offers `host` to the nodes of one run until the returned function is called. */
export function offerHost(token: string, host: Host): () => void {
  isHosting = true;
  hosts.set(token, host);
  return () => void hosts.delete(token);
}

/** The ports for the task that `config` (a node's runtime or a tool's config) belongs to. */
export function hostOf(config: { configurable?: Record<string, unknown> | undefined } | undefined): HostPorts {
  const token = config?.configurable?.[HOST_KEY];
  const task = config?.configurable?.[TASK_KEY];
  const taskId = typeof task === "string" ? task : "";
  const { data } = CheckpointMap.safeParse(config?.configurable?.["checkpoint_map"]);
  const at = { taskId, checkpointId: data?.[""] ?? "" };
  if (typeof token === "string" && isHosting) return portsOf(hosts.get(token) ?? gone, at);
  return portsOf({ ...plain, ledger: ledgerInMemory(String(config?.configurable?.["thread_id"])) }, at);
}

const plain: Omit<Host, "ledger"> = { now: () => new Date(), random: () => Math.random(), id: () => randomUUID() };

function portsOf(host: Host, { taskId, checkpointId }: { taskId: string; checkpointId: string }): HostPorts {
  const { ledger, now, random, id } = host;
  return {
    effect: (effect, fn) => ledger.perform({ ...effect, taskId }, fn),
    answerEffect: ({ key, attempt, answers }, answer) =>
      ledger.answer({ key, taskId, attempt, ordinal: answers }, answer),
    knownEffects: (toolCallIds) => ledger.known(toolCallIds),
    get files() {
      return host.files?.(checkpointId);
    },
    now,
    random,
    id,
  };
}

/** A task that its run has left behind, because it ignored its signal, does nothing to the world any more. */
const gone: Host = {
  ...plain,
  ledger: {
    perform: ({ name }) => Promise.reject(new PawlError("lease_lost", `The run is over: ${name} is not executed`)),
    answer: () => Promise.reject(new PawlError("lease_lost", "The run is over")),
    known: () => Promise.reject(new PawlError("lease_lost", "The run is over")),
  },
  files: () => {
    throw new PawlError("lease_lost", "The run is over");
  },
};

const remembered = new Map<string, EffectLedger>();

/** For graphs that run outside Pawl: effects are remembered for the life of the process only. */
function ledgerInMemory(threadId: string): EffectLedger {
  const ledger =
    remembered.get(threadId) ?? new EffectLedger(new EffectsInMemory(threadId), new AbortController().signal);
  remembered.set(threadId, ledger);
  return ledger;
}
