/**
 * The rows of `checkpoint_items`: the name of a piece, and its bytes. One piece is stored several times in a turn
 * (an input, pending writes, the state) and read by each run of its thread, so those of late are kept in both forms. A
 * name says what the content is, so nothing here can be out of date, whichever thread it comes from; what is read is kept
 * only if that is true of it.
 */
import { hash } from "node:crypto";
import { isPacked, MIN_PACKED, pack, unpack } from "./packed-text.ts";
import { SizedCache } from "./sized-cache.ts";

/** Characters and bytes that are kept. */
const MAX_KEPT = 32 * 1_024 * 1_024;

interface Piece {
  readonly text: string;
  readonly packed?: Uint8Array;
}

const kept = new SizedCache<Piece>(MAX_KEPT);

/** The key of a piece, 32 hexadecimal digits: two texts with one key are one row. */
export function hashOf(text: string): string {
  return hash("sha256", text, "hex").slice(0, 32);
}

/** Postgres writes a hash as a uuid. */
export function plainHash(uuid: string): string {
  return uuid.replaceAll("-", "");
}

export function packPiece(hashOfText: string, text: string): Uint8Array {
  if (text.length < MIN_PACKED) return pack(text);
  const known = kept.get(hashOfText);
  if (known?.packed) return known.packed;
  // Copies: a part of a string holds the whole string, and a small buffer the block of memory that it is part of.
  const packed = new Uint8Array(pack(text));
  kept.set(hashOfText, { text: known?.text ?? Buffer.from(text).toString(), packed }, text.length + packed.length);
  return packed;
}

/** Throws `checkpoint_unreadable` for bytes that are no piece. */
export function pieceText(hashOfText: string, bytes: Uint8Array): string {
  if (!isPacked(bytes)) return unpack(bytes);
  const name = plainHash(hashOfText);
  const known = kept.get(name);
  if (known) return known.text;
  const text = unpack(bytes);
  if (hashOf(text) === name) kept.set(name, { text }, text.length);
  return text;
}
