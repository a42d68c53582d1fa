/**
 * The versions of channels that a saver has read or written last, and builds the next ones on. Nothing is believed: a
 * version that is stored as a delta is refused in its own statement when the one below it is gone (pruned, rolled back,
 * deleted with its thread), and stored again as a whole.
 */
import { type DumpedValue, eachOnce } from "./dump-values.ts";
import { SizedCache } from "./sized-cache.ts";
import { CHUNKED, columnsOf, type Item, itemsOf } from "./stored-chunks.ts";
import { type KnownVersion, planVersion } from "./versions.ts";
import type { VersionRow } from "./write-tuples.ts";

export interface GraphPlace {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
}

/** What a checkpoint has. */
export interface Versions {
  /** The values of the channels that have a new version. */
  readonly values: readonly DumpedValue[];
  /** Of all its channels. */
  readonly channelVersions: Readonly<Record<string, number | string>>;
}

interface Planned {
  readonly values: readonly VersionRow[];
  readonly items: readonly Item[];
  /** Whether one of the checkpoint's values is surely in pieces: the stock saver cannot read it then. */
  readonly inPieces: boolean;
}

/** Characters of text; a state that has more is written as a whole at each step. */
const MAX_SIZE = 32 * 1_024 * 1_024;

export class KnownVersions {
  readonly #known = new SizedCache<KnownVersion>(MAX_SIZE);

  saw(at: GraphPlace, channel: string, version: KnownVersion): void {
    const size = version.chunks.reduce((sum, { text }) => sum + text.length, 0);
    this.#known.set(keyOf(at, channel), version, size);
  }

  /**
   * Has the values stored by `put`, which returns the channels whose version was not there before, or undefined when a
   * version that is needed is gone and nothing was stored.
   */
  async store(
    at: GraphPlace,
    versions: Versions,
    put: (planned: Planned) => Promise<ReadonlySet<string> | undefined>,
  ): Promise<void> {
    let { known, ...planned } = this.#plan(at, versions);
    let stored = await put(planned);
    if (!stored) {
      for (const { channel } of versions.values) this.#known.delete(keyOf(at, channel));
      ({ known, ...planned } = this.#plan(at, versions));
      stored = await put(planned);
    }
    for (const [channel, version] of known) {
      // A version that was there before may hold anything.
      if (stored?.has(channel)) this.saw(at, channel, version);
      else this.#known.delete(keyOf(at, channel));
    }
  }

  #plan(
    at: GraphPlace,
    { values, channelVersions }: Versions,
  ): Planned & { readonly known: Map<string, KnownVersion> } {
    const known = new Map<string, KnownVersion>();
    const items: Item[][] = [];
    const rows = values.map((value): VersionRow => {
      if (!("chunks" in value)) return value;
      const { channel, version, chunks } = value;
      const plan = planVersion(version, chunks, this.#known.get(keyOf(at, channel)));
      known.set(channel, plan.known);
      items.push(itemsOf(plan.fresh));
      const { needs, delta } = plan;
      return {
        channel,
        version,
        type: CHUNKED,
        ...columnsOf(plan.own),
        ...(needs && { needs }),
        ...(delta && { delta }),
      };
    });
    const inPieces = known.size > 0 || this.#knowsOneOf(at, channelVersions);
    return { values: rows, items: eachOnce(items.flat()), inPieces, known };
  }

  #knowsOneOf(at: GraphPlace, channelVersions: Versions["channelVersions"]): boolean {
    return Object.entries(channelVersions).some(
      ([channel, version]) => this.#known.get(keyOf(at, channel))?.version === String(version),
    );
  }
}

function keyOf({ thread_id, checkpoint_ns }: GraphPlace, channel: string): string {
  return JSON.stringify([thread_id, checkpoint_ns, channel]);
}
