/** A piece of the JSON text of a value. */
export class Chunk {
  /** Of the text. */
  readonly length: number;
  /** Where the element begins, after its comma, bracket or key: the same element is stored the same wherever it stands. */
  readonly bodyAt: number;
  /** Of a part of a long element, which is not cut again. */
  readonly isString: boolean | undefined;
  /** How it is stored; kept, since most chunks of a version are those of the version before. */
  form: ChunkForm | undefined;
  /** Of the first chunk of an element of a list: how many it takes. Undefined where that is not known. */
  size: number | undefined;
  #text: string;
  #json: unknown;
  /** Before an element whose text went when it was parsed: the two would take twice the memory. */
  #lead: string | undefined;

  constructor(text: string, { bodyAt = 0, isString, form, size }: Partial<Omit<Chunk, "text">> = {}) {
    this.length = text.length;
    this.bodyAt = bodyAt;
    this.isString = isString;
    this.form = form;
    this.size = size;
    this.#text = text;
  }

  get text(): string {
    return this.#lead === undefined ? this.#text : this.#lead + JSON.stringify(this.#json);
  }

  /**
   * What `JSON.parse` makes of the element that begins here; `others`: its further chunks. It is kept, so nobody may
   * change it or give it away.
   */
  json(others: readonly Chunk[]): unknown {
    if (this.#json === undefined) {
      this.#json = JSON.parse(textOf([this, ...others]).slice(1));
      if (others.length === 0) [this.#lead, this.#text] = [this.#text.charAt(0), ""];
    }
    return this.#json;
  }
}

export interface ChunkForm {
  /** The text with marks in the places of what is stored apart. */
  readonly line: string;
  /** What is stored apart, in the order of the marks. */
  readonly items: readonly string[];
}

export function textOf(chunks: readonly Chunk[]): string {
  return chunks.map(({ text }) => text).join("");
}
