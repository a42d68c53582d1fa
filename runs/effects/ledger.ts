/** The ledger of one attempt at a run. It takes no effect of a run under which a repetition could not be recognised. */
import type { EffectContext } from "../../lib/effect.ts";
import { EffectLedger, type TaskEffect } from "../../lib/effect-ledger.ts";
import { PawlError } from "../../lib/errors.ts";
import { EffectsInPostgres, type EffectRowsOptions } from "./rows.ts";

interface LedgerOptions extends EffectRowsOptions {
  readonly durability: "sync" | "async" | "exit";
}

export class RunLedger extends EffectLedger {
  readonly #durability: LedgerOptions["durability"];

  constructor(options: LedgerOptions) {
    super(new EffectsInPostgres(options), options.signal);
    this.#durability = options.durability;
  }

  /** Throws `durability_required`; else see `HostPorts.effect`. */
  override async perform<T>(effect: TaskEffect<T>, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    if (this.#durability !== "sync") {
      throw new PawlError(
        "durability_required",
        `${effect.name} needs a run with durability "sync": with less its repetition could not be told`,
      );
    }
    return super.perform(effect, fn);
  }
}
