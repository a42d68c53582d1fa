/** A piece of the JSON text of a value. */
export interface Chunk {
  readonly text: string;
  /** Where the element begins, after its comma, bracket or key: the same element is stored the same wherever it stands. */
  readonly bodyAt: number;
  /** Of a part of a long element, which is not cut again. */
  readonly isString?: boolean;
  /** How it is stored; kept, since most chunks of a version are those of the version before. */
  form?: ChunkForm;
  /** Of the first chunk of an element of a list, if it is known where the element ends. */
  element?: ListElement;
}

export interface ChunkForm {
  /** The text with marks in the places of what is stored apart. */
  readonly line: string;
  /** What is stored apart, in the order of the marks. */
  readonly items: readonly string[];
}

export interface ListElement {
  /** How many chunks it takes. */
  readonly size: number;
  /** What `JSON.parse` makes of it, once somebody has asked. Nobody changes it, and no state shares an object with it. */
  json?: unknown;
}

export function textOf(chunks: readonly Chunk[]): string {
  return chunks.map(({ text }) => text).join("");
}
