/** Values on their way to the tables: small ones as the stock saver stores them, others as chunks. */
import type { PendingWrite, SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { WRITES_IDX_MAP } from "@langchain/langgraph-checkpoint";
import { type Chunk, textOf } from "./chunk.ts";
import { chunksOf } from "./chunks.ts";
import { CHUNKED, columnsOf, hasItems, type Item, itemsOf } from "./stored-chunks.ts";
import type { WriteRow } from "./put-writes.ts";

type Dumped = { readonly type: string; readonly blob: Uint8Array } | { readonly chunks: readonly Chunk[] };

export type DumpedValue = Dumped & { readonly channel: string; readonly version: string };

/** A value whose JSON has fewer characters is stored as a whole, in the form of the stock saver. */
const MIN_CHUNKED = 512;

/**
 * The values of the channels that have a new version. One without a value takes no row: none is what is read, too.
 * `before`: the chunks of a value that the one of a channel may have much in common with.
 */
export async function dumpValues(
  values: Readonly<Record<string, unknown>>,
  versions: Readonly<Record<string, number | string>>,
  { serde, before }: { readonly serde: SerializerProtocol; readonly before: (channel: string) => readonly Chunk[] },
): Promise<DumpedValue[]> {
  return Promise.all(
    Object.entries(versions)
      .filter(([channel]) => Object.hasOwn(values, channel))
      .map(async ([channel, version]) => ({
        ...(await dump(values[channel], serde, before(channel))),
        channel,
        version: String(version),
      })),
  );
}

/** Questions and answers stay whole: they are looked for without the checkpoint that they belong to. */
export async function dumpWrites(
  writes: readonly PendingWrite[],
  serde: SerializerProtocol,
): Promise<{ writes: WriteRow[]; items: Item[] }> {
  const items: Item[][] = [];
  const rows = await Promise.all(
    writes.map(async ([channel, value], i): Promise<WriteRow> => {
      const isSpecial = channel in WRITES_IDX_MAP;
      const dumped = isSpecial ? await dumpWhole(value, serde) : await dump(value, serde);
      const at = { idx: WRITES_IDX_MAP[channel] ?? i, channel };
      if (!("chunks" in dumped)) return { ...at, ...dumped };
      const { chunks } = dumped;
      if (!hasItems(chunks)) return { ...at, ...wholeOf(chunks) };
      items.push(itemsOf(chunks));
      return { ...at, type: CHUNKED, ...columnsOf(chunks) };
    }),
  );
  return { writes: rows, items: eachOnce(items.flat()) };
}

export function eachOnce(items: readonly Item[]): Item[] {
  return [...new Map(items.map((item) => [item.hash, item])).values()];
}

async function dump(value: unknown, serde: SerializerProtocol, before?: readonly Chunk[]): Promise<Dumped> {
  const chunks = await chunksOf(value, serde, before);
  if (!chunks) return dumpWhole(value, serde);
  const length = chunks.slice(0, MIN_CHUNKED).reduce((sum, chunk) => sum + chunk.length, 0);
  return length < MIN_CHUNKED ? wholeOf(chunks) : { chunks };
}

async function dumpWhole(value: unknown, serde: SerializerProtocol): Promise<{ type: string; blob: Uint8Array }> {
  const [type, blob] = await serde.dumpsTyped(value);
  return { type, blob };
}

function wholeOf(chunks: readonly Chunk[]): { type: string; blob: Uint8Array } {
  return { type: "json", blob: Buffer.from(textOf(chunks)) };
}
