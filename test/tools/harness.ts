/** What a tool call needs around it: a data folder that goes away, configuration, and a host that keeps a ledger. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../lib/config.ts";
import type { Effect, EffectContext } from "../../lib/effect.ts";
import { EffectLedger } from "../../lib/effect-ledger.ts";
import { EffectsInMemory } from "../../lib/effects-in-memory.ts";
import type { HostPorts } from "../../lib/host.ts";
import type { ExecuteContext } from "../../tools/index.ts";

export const threadId = "0190b7e0-0000-7000-8000-000000000002";

/** The ledger in memory, with a note of what was sent. */
class LedgerHost implements HostPorts {
  readonly dispatched: string[] = [];
  readonly #ledger = new EffectLedger(new EffectsInMemory(threadId), new AbortController().signal);

  effect<T>(effect: Effect<T>, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    return this.#ledger.perform({ ...effect, taskId: "task" }, (context) => {
      this.dispatched.push(effect.name);
      return fn(context);
    });
  }
  answerEffect: HostPorts["answerEffect"] = ({ key, attempt, answers }, answer) =>
    this.#ledger.answer({ key, attempt, taskId: "task", ordinal: answers }, answer);
  knownEffects: HostPorts["knownEffects"] = (ids) => this.#ledger.known(ids);
  now = (): Date => new Date("2026-03-29T00:59:59.000Z");
  random = (): number => 0.5;
  id = (): string => "0190b7e0-0000-7000-8000-00000000000f";
}

export interface Harness extends Disposable {
  readonly dataDir: string;
  readonly host: LedgerHost;
  /** A context for one call, with these environment variables. */
  context(env?: Record<string, string>, overrides?: Partial<ExecuteContext>): ExecuteContext;
}

export function createHarness(): Harness {
  const dataDir = mkdtempSync(join(tmpdir(), "pawl-tools-"));
  const host = new LedgerHost();
  return {
    dataDir,
    host,
    context: (env = {}, overrides = {}) => ({
      threadId,
      toolCallId: "call_1",
      signal: new AbortController().signal,
      host,
      config: readConfig({ PAWL_DATA_DIR: dataDir, LOG_LEVEL: "silent", ...env }),
      ...overrides,
    }),
    [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }),
  };
}
