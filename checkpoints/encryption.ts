/**
 * Encryption of stored values: AES-256-GCM, bound to the row that holds them, so that a row that was moved or changed is
 * refused. What is sealed says which key it was sealed under: the first key seals, all of them open.
 *
 * Layout: 0xff (no JSON text begins with it), id of the key (4 bytes), nonce (12), ciphertext, tag (16). A random nonce
 * is safe for 2^32 values under one key (NIST SP 800-38D, 8.3); each thread has a key of its own, derived by HKDF.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import type pg from "pg";
import { standsFor } from "../db/retry.ts";
import { PawlError } from "../lib/errors.ts";

/** The thread, and what else tells the row from all others. */
export interface Place {
  readonly threadId: string;
  readonly row: readonly (string | number | null)[];
}

const MARK = 0xff;
const ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + ID_BYTES + NONCE_BYTES;
/** Derived keys that are kept. */
const MAX_THREADS = 1_000;

interface Key {
  readonly id: string;
  readonly secret: Uint8Array;
  readonly hashes: Uint8Array;
  readonly tags: Uint8Array;
}

export class Encryption {
  readonly #keys: ReadonlyMap<string, Key>;
  readonly #first: Key;
  readonly #ofThreads = new Map<string, Uint8Array>();

  /** `keys`: 32 bytes each, the one to seal under first. */
  constructor(keys: readonly [Uint8Array, ...Uint8Array[]]) {
    const all = keys.map((secret): [string, Key] => {
      const id = Buffer.from(derive(secret, "id"))
        .toString("hex")
        .slice(0, 2 * ID_BYTES);
      return [id, { id, secret, hashes: derive(secret, "hashes"), tags: derive(secret, "tags") }];
    });
    this.#keys = new Map(all);
    this.#first = (all[0] as (typeof all)[0])[1];
  }

  /** The first is the one that seals. */
  get keyIds(): string[] {
    return [...this.#keys.keys()];
  }

  /** `like`: something sealed under the key to use; the first key otherwise. */
  seal(bytes: Uint8Array, place: Place, like?: Uint8Array): Buffer {
    const key = like ? this.#keyOf(like) : this.#first;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#keyFor(place, key), nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(additional(place));
    const head = Buffer.concat([Buffer.of(MARK), Buffer.from(key.id, "hex"), nonce]);
    return Buffer.concat([head, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }

  /** Throws `checkpoint_unreadable` when the key is missing, the bytes were changed, or the row is another one. */
  open(sealed: Uint8Array, place: Place): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length);
    const key = this.#keyOf(bytes);
    try {
      const decipher = createDecipheriv(
        "aes-256-gcm",
        this.#keyFor(place, key),
        bytes.subarray(HEADER_BYTES - NONCE_BYTES, HEADER_BYTES),
        { authTagLength: TAG_BYTES },
      );
      decipher.setAAD(additional(place));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(HEADER_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new PawlError(
        "checkpoint_unreadable",
        "An encrypted value was changed, or stands in a row that is not its own",
        { cause },
      );
    }
  }

  /** The same for another row, under the key that it has. */
  move(sealed: Uint8Array, from: Place, to: Place): Buffer {
    return this.seal(this.open(sealed, from), to, sealed);
  }

  /** Whether it was sealed under the first key. */
  isCurrent(sealed: Uint8Array): boolean {
    return isSealed(sealed) && this.#keyOf(sealed) === this.#first;
  }

  /**
   * A digest (a uuid) under a key: what is equal has equal masks, but nobody can test a guess at a content. One block of
   * AES, so that whoever has the key gets the digest back. `like` as in `seal`.
   */
  mask(hash: string, like?: Uint8Array): string {
    return block(like ? this.#keyOf(like) : this.#first, hash, createCipheriv);
  }

  /** `sealed`: what was sealed together with the mask, for its key. */
  unmask(masked: string, sealed: Uint8Array): string {
    return block(this.#keyOf(sealed), masked, createDecipheriv);
  }

  /**
   * HMAC-SHA256 under each key, the first one's first: what is equal is found by them, and nobody without a key can test a
   * guess at it. Unlike a mask they do not lead back.
   */
  tags(bytes: Uint8Array): [Buffer, ...Buffer[]] {
    const tag = ({ tags }: Key): Buffer => createHmac("sha256", tags).update(bytes).digest();
    const [, ...others] = this.#keys.values();
    return [tag(this.#first), ...others.map(tag)];
  }

  #keyOf(sealed: Uint8Array): Key {
    const id = Buffer.from(sealed.subarray(1, 1 + ID_BYTES)).toString("hex");
    const key = this.#keys.get(id);
    if (key && isSealed(sealed)) return key;
    throw new PawlError(
      "checkpoint_unreadable",
      `A value is encrypted under the key ${id}, which PAWL_ENCRYPTION_KEYS does not have`,
      { facts: { key_id: id } },
    );
  }

  #keyFor({ threadId }: Place, { id, secret }: Key): Uint8Array {
    const name = `${id} ${threadId}`;
    const known = this.#ofThreads.get(name);
    if (known) return known;
    const key = derive(secret, `values of ${threadId}`);
    if (this.#ofThreads.size >= MAX_THREADS) this.#ofThreads.clear();
    this.#ofThreads.set(name, key);
    return key;
  }
}

export function isSealed(bytes: Uint8Array): boolean {
  return bytes[0] === MARK && bytes.length >= HEADER_BYTES + TAG_BYTES;
}

const encryptions = new WeakMap<pg.Pool, Encryption>();

/** From now on, what savers on this pool store is encrypted under the first of `keys`; nothing is, if there are none. */
export function encryptWith(pool: pg.Pool, keys: readonly Uint8Array[]): Encryption | undefined {
  const [first, ...others] = keys;
  if (!first) return undefined;
  const encryption = new Encryption([first, ...others]);
  encryptions.set(pool, encryption);
  return encryption;
}

export function encryptionOf(pool: pg.Pool): Encryption | undefined {
  return encryptions.get(standsFor(pool));
}

function additional({ threadId, row }: Place): Buffer {
  return Buffer.from(JSON.stringify([threadId, ...row]));
}

function derive(secret: Uint8Array, what: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, "", `pawl ${what}`, 32));
}

function block({ hashes }: Key, hash: string, make: typeof createCipheriv | typeof createDecipheriv): string {
  const cipher = make("aes-256-ecb", hashes, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(Buffer.from(hash.replaceAll("-", ""), "hex")), cipher.final()]).toString("hex");
}
