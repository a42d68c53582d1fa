/**
 * Where the text of a chunk is cut for storage: around long strings, so that what a user said is the same piece in the
 * input, in what a node returned and in the list of messages, whatever form each of them gives a message.
 */

interface Segment {
  readonly text: string;
  /** The inside of a JSON string, or a part of it. */
  readonly isString: boolean;
}

/** A string of fewer characters is not cut out: a piece of its own would take about 170 bytes more. */
export const MIN_PIECE = 128;
/**
 * Longer pieces are cut every `PIECE` characters, so that a text that grows at its end leaves its beginning as it was,
 * at any depth of a value.
 */
export const MAX_PIECE = 8_192;
const PIECE = 4_096;

/** Segments that together are `json`, a part of a JSON text that neither begins nor ends inside a string. */
export function segmentsOf(json: string, bodyAt: number): Segment[] {
  const segments: Segment[] = [];
  let done = 0;
  const cutAt = (end: number, isString: boolean): void => {
    if (end > done) segments.push(...pieces(json.slice(done, end), isString));
    done = end;
  };
  cutAt(bodyAt, false);
  for (let open = json.indexOf('"', bodyAt); open >= 0;) {
    const close = endOfString(json, open);
    if (close - open > MIN_PIECE) {
      cutAt(open + 1, false);
      cutAt(close, true);
    }
    open = json.indexOf('"', close + 1);
  }
  cutAt(json.length, false);
  return segments;
}

/** Where the string that begins at `open` has its closing quote. */
function endOfString(json: string, open: number): number {
  let close = json.indexOf('"', open + 1);
  while (isEscaped(json, close)) close = json.indexOf('"', close + 1);
  return close;
}

/** An odd number of backslashes before a quote makes it a part of the string. */
function isEscaped(json: string, quote: number): boolean {
  let at = quote;
  while (json[at - 1] === "\\") at -= 1;
  return (quote - at) % 2 === 1;
}

function pieces(text: string, isString: boolean): Segment[] {
  if (text.length <= MAX_PIECE) return [{ text, isString }];
  const cut: Segment[] = [];
  for (let at = 0; at < text.length;) {
    let end = at + PIECE;
    // Never between the halves of a pair.
    if (isHighSurrogate(text.charCodeAt(end - 1))) end += 1;
    cut.push({ text: text.slice(at, end), isString });
    at = end;
  }
  return cut;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}
