/**
 * The values that were read or written last, by thread and namespace: the next versions build on them, and a checkpoint
 * whose values are all known is read without them (read-known.ts). A version is never written twice (see
 * `Saver.getNextVersion`), so what is known of one stays true whoever else writes, also after its row is gone. Building on
 * a row is another matter, and not believed: a version that is stored as a delta is refused in its own statement when
 * the one below it is gone (pruned, rolled back, deleted with its thread), and stored again as a whole.
 */
import type { ChannelVersions } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { standsFor } from "../db/retry.ts";
import type { Chunk } from "./chunk.ts";
import { type DumpedValue, eachOnce } from "./dump-values.ts";
import { SizedCache } from "./sized-cache.ts";
import { CHUNKED, columnsOf, type Item, itemsOf } from "./stored-chunks.ts";
import type { Value } from "./stored-values.ts";
import { type KnownVersion, planVersion } from "./versions.ts";
import type { VersionRow } from "./put-checkpoint.ts";

export interface GraphPlace {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
}

/** What a checkpoint has. */
export interface Versions {
  /** Of the channels that have a new version. */
  readonly values: readonly DumpedValue[];
  /** Of those, and of channels that have none any more. */
  readonly newVersions: ChannelVersions;
  /** Of all its channels. */
  readonly channelVersions: ChannelVersions;
}

interface Planned {
  readonly values: readonly VersionRow[];
  readonly items: readonly Item[];
  /** Whether one of the checkpoint's values is surely in pieces: the stock saver cannot read it then. */
  readonly inPieces: boolean;
}

/** What a version of a channel holds: chunks, or JSON that is stored as a whole, or nothing. */
interface Known {
  readonly version: string;
  readonly chunked?: KnownVersion;
  readonly whole?: Uint8Array;
}

/** Characters of all threads, which take two bytes each; a state that has more is written as a whole at each step. */
const MAX_SIZE = 32 * 1_024 * 1_024;

export class KnownVersions {
  /** By place and channel. */
  readonly #places = new SizedCache<ReadonlyMap<string, Known>>(MAX_SIZE);

  /** What a checkpoint was read with. */
  saw(at: GraphPlace, versions: ChannelVersions, values: readonly Value[]): void {
    const byChannel = new Map(values.map((value) => [value.channel, value]));
    const known = Object.entries(versions).map(([channel, each]): [string, Known | undefined] => {
      const [version, value] = [String(each), byChannel.get(channel)];
      if (!value) return [channel, { version }];
      const { type, data, known: chunked } = value;
      if (data instanceof Uint8Array) return [channel, wholeOf({ version, type, blob: data })];
      return [channel, chunked && { version, chunked }];
    });
    this.#keep(at, known);
  }

  has(at: GraphPlace): boolean {
    return this.#places.get(keyOf(at)) !== undefined;
  }

  /** The values of a checkpoint, as they were read; undefined unless all of them are known. */
  values(at: GraphPlace, versions: ChannelVersions): Value[] | undefined {
    const channels = this.#places.get(keyOf(at));
    const values: Value[] = [];
    for (const [channel, version] of Object.entries(versions)) {
      const known = channels?.get(channel);
      if (known?.version !== String(version) || !isUnique(known)) return undefined;
      const { chunked, whole } = known;
      if (chunked) values.push({ channel, type: CHUNKED, data: chunked.chunks, known: chunked });
      else if (whole) values.push({ channel, type: "json", data: whole });
    }
    return values;
  }

  /** Of the version of a channel that was stored last; none where it is not known, or not in chunks. */
  chunks(at: GraphPlace, channel: string): readonly Chunk[] {
    return this.#places.get(keyOf(at))?.get(channel)?.chunked?.chunks ?? [];
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
      this.#places.delete(keyOf(at));
      ({ known, ...planned } = this.#plan(at, versions));
      stored = await put(planned);
    }
    this.#keep(
      at,
      Object.entries(versions.newVersions).map(([channel, version]): [string, Known | undefined] => {
        if (!known.has(channel)) return [channel, { version: String(version) }];
        // A version that was there before may hold anything.
        return [channel, stored?.has(channel) ? known.get(channel) : undefined];
      }),
    );
  }

  #plan(
    at: GraphPlace,
    { values, channelVersions }: Versions,
  ): Planned & { readonly known: ReadonlyMap<string, Known | undefined> } {
    const before = this.#places.get(keyOf(at));
    const known = new Map<string, Known | undefined>();
    const items: Item[][] = [];
    const rows = values.map((value): VersionRow => {
      const { channel, version } = value;
      if (!("chunks" in value)) {
        known.set(channel, wholeOf(value));
        return value;
      }
      const plan = planVersion(version, value.chunks, before?.get(channel)?.chunked);
      known.set(channel, { version, chunked: plan.known });
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
    const inPieces = Object.entries(channelVersions).some(([channel, version]) => {
      const value = known.get(channel) ?? before?.get(channel);
      return value?.chunked?.version === String(version);
    });
    return { values: rows, items: eachOnce(items.flat()), inPieces, known };
  }

  /** Undefined: of that channel nothing is known any more. */
  #keep(at: GraphPlace, changes: readonly (readonly [string, Known | undefined])[]): void {
    const channels = new Map(this.#places.get(keyOf(at)));
    for (const [channel, known] of changes) {
      if (known) channels.set(channel, known);
      else channels.delete(channel);
    }
    const size = [...channels.values()].reduce((sum, known) => sum + sizeOf(known), 0);
    this.#places.set(keyOf(at), channels, size);
  }
}

const shared = new WeakMap<pg.Pool, KnownVersions>();

/** From now on, what savers on one of these pools read and write is known to those on all of them. */
export function shareVersions(pools: readonly pg.Pool[]): void {
  const versions = new KnownVersions();
  for (const pool of pools) shared.set(pool, versions);
}

/** Those that the pool's savers share; else of one saver alone. */
export function versionsOf(pool: pg.Pool): KnownVersions {
  return shared.get(standsFor(pool)) ?? new KnownVersions();
}

/** The stock saver counts 1, 2, 3, in each branch of a thread. */
function isUnique({ version }: Known): boolean {
  return !Number.isInteger(Number(version));
}

/** Undefined for bytes, which whoever has the value may change. */
function wholeOf({ version, type, blob }: { version: string; type: string; blob: Uint8Array }): Known | undefined {
  return type === "json" ? { version, whole: blob } : undefined;
}

/** What an entry takes besides. */
const ENTRY = 125;

function sizeOf({ chunked, whole }: Known): number {
  if (whole) return ENTRY + whole.length;
  return ENTRY + (chunked?.sums.size ?? 0);
}

function keyOf({ thread_id, checkpoint_ns }: GraphPlace): string {
  return JSON.stringify([thread_id, checkpoint_ns]);
}
