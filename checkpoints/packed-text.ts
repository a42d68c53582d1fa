/**
 * Text as a row holds it: in UTF-8, or compressed where that is shorter. What is compressed says so in its first byte,
 * which no text of ours begins with, and says in the second against which dictionary.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { PawlError } from "../lib/errors.ts";
import { DICTIONARY } from "./dictionary.ts";

/** Characters. A call into zlib costs a step, and each read, more than it saves in a shorter text. */
export const MIN_PACKED = 512;

/** Characters; a longer text is left to Postgres, which compresses it too. So nobody has to make much of a few bytes. */
const MAX_PACKED = 1_024 * 1_024;

/** UTF-8 has at most three for a unit of UTF-16. */
const MAX_BYTES = 3 * MAX_PACKED;

/** JSON has no character below U+0020 unescaped, and abbreviations.ts leaves this one alone. */
const MARK = 0;
const DICTIONARY_NUMBER = 1;

/** A window of 8 KiB, the size of the longest piece, and little memory, since both are allocated for each text. */
const COMPRESSION = { dictionary: DICTIONARY, windowBits: 13, memLevel: 6 };
const DECOMPRESSION = { dictionary: DICTIONARY, chunkSize: 4_096, maxOutputLength: MAX_BYTES };

export function pack(text: string): Buffer {
  const plain = Buffer.from(text);
  if (text.length < MIN_PACKED || text.length > MAX_PACKED) return plain;
  const packed = deflateRawSync(plain, { ...COMPRESSION, chunkSize: plain.length });
  return packed.length + 2 < plain.length ? Buffer.concat([Buffer.of(MARK, DICTIONARY_NUMBER), packed]) : plain;
}

export function isPacked(bytes: Uint8Array): boolean {
  return bytes[0] === MARK;
}

/** Throws `checkpoint_unreadable` for what is damaged, and for what would be more than anything that `pack` compresses. */
export function unpack(bytes: Uint8Array): string {
  if (!isPacked(bytes)) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  if (bytes[1] !== DICTIONARY_NUMBER)
    throw new PawlError("checkpoint_unreadable", "A stored text is compressed in a way that this Pawl does not know");
  try {
    return inflateRawSync(bytes.subarray(2), DECOMPRESSION).toString();
  } catch (cause) {
    throw new PawlError("checkpoint_unreadable", "A compressed text is damaged or too large", { cause });
  }
}
