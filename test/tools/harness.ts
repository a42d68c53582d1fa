/** What a tool call needs around it: a data folder that goes away, configuration, and a host that keeps a ledger. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../lib/config.ts";
import type { EffectContext, HostPorts } from "../../lib/host.ts";
import type { ExecuteContext } from "../../tools/index.ts";

export const threadId = "0190b7e0-0000-7000-8000-000000000002";

/** In memory what the server's ledger does: a result is kept, a failure of an irreversible effect stays open. */
export class LedgerHost implements HostPorts {
  readonly dispatched: string[] = [];
  readonly #committed = new Map<string, unknown>();

  async effect<T>(effect: { key: string; name: string }, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    if (this.#committed.has(effect.key)) return this.#committed.get(effect.key) as T;
    this.dispatched.push(effect.name);
    const result = await fn({ idempotencyKey: `${threadId}:${effect.key}`, signal: new AbortController().signal });
    this.#committed.set(effect.key, result);
    return result;
  }
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
