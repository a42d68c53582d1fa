/**
 * Text of a row, or JSON, sealed to the row and in base64. The first byte of what is sealed makes that begin with a slash,
 * as no JSON text does. A column of jsonb holds it as a string, so only columns whose values in clear are none.
 */
import type { Encryption, Place } from "./encryption.ts";
import { held } from "./sealed-rows.ts";

export function isSealedText(stored: unknown): stored is string {
  return typeof stored === "string" && stored.startsWith("/");
}

export function sealText(encryption: Encryption, text: string, place: Place): string {
  return encryption.seal(Buffer.from(text), place).toString("base64");
}

/** For a column of text that holds JSON: as it is without a key. */
export function storedText(encryption: Encryption | undefined, text: string, place: Place): string {
  return encryption ? sealText(encryption, text, place) : text;
}

/** Throws `checkpoint_unreadable`. */
export function openText(encryption: Encryption | undefined, stored: string, place: Place): string {
  return held(encryption).open(Buffer.from(stored, "base64"), place).toString();
}

/** Of either form. Throws `checkpoint_unreadable`. */
export function readText(encryption: Encryption | undefined, stored: string, place: Place): string {
  return isSealedText(stored) ? openText(encryption, stored, place) : stored;
}

/** JSON text for a column of jsonb. */
export function storedJson(encryption: Encryption | undefined, value: unknown, place: Place): string {
  const json = JSON.stringify(value);
  return encryption ? JSON.stringify(sealText(encryption, json, place)) : json;
}

/** `stored`: as the column's JSON was parsed. Throws `checkpoint_unreadable`. */
export function readJson(encryption: Encryption | undefined, stored: unknown, place: Place): unknown {
  return isSealedText(stored) ? JSON.parse(openText(encryption, stored, place)) : stored;
}

/** What is sealed, for another row. */
export function movedText(encryption: Encryption, stored: string, { from, to }: { from: Place; to: Place }): string {
  return encryption.move(Buffer.from(stored, "base64"), from, to).toString("base64");
}
