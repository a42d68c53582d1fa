/**
 * The elements of a list that is stored as chunks. Each is parsed once for as long as its chunks are known, and serves in
 * both directions: states are built from it, and a value that is still the same is not serialized again.
 */
import { Chunk } from "./chunk.ts";
import { isDumpedAs } from "./dump.ts";

/** As `JSON.parse` makes them; undefined for what is no list, and where it is not known where one of them ends. */
export function elementsOf(chunks: readonly Chunk[]): unknown[] | undefined {
  const spans = spansOf(chunks);
  return areAll(spans, chunks) ? spans.map((span) => jsonOf(span, chunks)) : undefined;
}

/** What a list has in common with the one before. */
export interface Unchanged {
  /** How many elements at the beginning are the same, and how many at the end. */
  readonly head: number;
  readonly tail: number;
  readonly headChunks: readonly Chunk[];
  readonly tailChunks: readonly Chunk[];
}

/**
 * The elements that would be serialized as those `before`. That they are the same objects would not prove it, since
 * nodes change objects in place: whatever the serializer would write is compared.
 */
export function unchangedOf(list: readonly unknown[], before: readonly Chunk[]): Unchanged {
  const spans = spansOf(before);
  const isSame = (index: number, span: Span | undefined): boolean =>
    span !== undefined && isDumpedAs(list[index], jsonOf(span, before));
  const most = Math.min(list.length, spans.length);
  let head = 0;
  while (head < most && isSame(head, spans[head])) head += 1;
  // The first element has a bracket in front of it, the others a comma.
  const mostAtEnd = areAll(spans, before) ? most - Math.max(head, 1) : 0;
  let tail = 0;
  while (tail < mostAtEnd && isSame(list.length - 1 - tail, spans.at(-1 - tail))) tail += 1;
  return {
    head,
    tail,
    headChunks: before.slice(0, spans[head - 1]?.end ?? 0),
    tailChunks: tail > 0 ? before.slice(spans.at(-tail)?.at) : [CLOSE],
  };
}

/** Behind the last element of a list. */
const CLOSE = new Chunk("]", { bodyAt: 1 });

/** An element: its first chunk, and where in the list of chunks it begins and ends. */
interface Span {
  readonly chunk: Chunk;
  readonly at: number;
  readonly end: number;
}

/** Of a list the elements up to the first of which it is not known where it ends. */
function spansOf(chunks: readonly Chunk[]): Span[] {
  const spans: Span[] = [];
  if (chunks.at(-1)?.text !== CLOSE.text) return spans;
  for (let at = 0; at < chunks.length - 1; at = endOf(spans)) {
    const chunk = chunks[at];
    if (!chunk) break;
    chunk.size ??= sizeOf(chunk, at === 0 ? "[" : ",");
    if (chunk.size === undefined) break;
    spans.push({ chunk, at, end: at + chunk.size });
  }
  return spans;
}

function endOf(spans: readonly Span[]): number {
  return spans.at(-1)?.end ?? 0;
}

function areAll(spans: readonly Span[], chunks: readonly Chunk[]): boolean {
  return spans.length > 0 && endOf(spans) === chunks.length - 1;
}

/** Of a chunk from a row it has to be found out. A long element begins with a chunk of nothing but its comma or bracket. */
function sizeOf(chunk: Chunk, lead: string): number | undefined {
  if (chunk.length === 1 || !chunk.text.startsWith(lead)) return undefined;
  try {
    chunk.json([]);
    return 1;
  } catch {
    return undefined; // a value that only begins like a list of elements
  }
}

function jsonOf({ chunk, at, end }: Span, chunks: readonly Chunk[]): unknown {
  return chunk.json(end === at + 1 ? NONE : chunks.slice(at + 1, end));
}

const NONE: readonly Chunk[] = [];
