/**
 * Results of effects as their rows hold them: JSON, or with a key sealed to the row and in base64. The first byte of what
 * is sealed makes that begin with a slash, as no JSON does.
 */
import type { Encryption, Place } from "../../checkpoints/encryption.ts";
import { held } from "../../checkpoints/sealed-rows.ts";
import type { Queryable } from "../../db/pool.ts";

export interface ResultPlace {
  readonly thread_id: string;
  readonly key: string;
  readonly attempt: number;
}

const placeOf = ({ thread_id, key, attempt }: ResultPlace): Place => ({
  threadId: thread_id,
  row: ["effect", key, attempt],
});

export function storedResult(encryption: Encryption | undefined, at: ResultPlace, result: unknown): string {
  const json = JSON.stringify(result);
  return encryption ? encryption.seal(Buffer.from(json), placeOf(at)).toString("base64") : json;
}

/** Throws `checkpoint_unreadable`. */
export function readResult(encryption: Encryption | undefined, at: ResultPlace, stored: string): unknown {
  if (!stored.startsWith("/")) return JSON.parse(stored);
  return JSON.parse(held(encryption).open(Buffer.from(stored, "base64"), placeOf(at)).toString());
}

/** Makes the results of a copied thread its own; in the transaction that copied the rows. */
export async function resealResults(tx: Queryable, encryption: Encryption, copied: { from: string; to: string }) {
  const { from, to } = copied;
  const { rows } = await tx.query<{ key: string; attempt: number; result: string }>({
    name: "sealed-results",
    text: "select key, attempt, result from effects where thread_id = $1 and result like '/%'",
    values: [to],
  });
  const moved = rows.map(({ key, attempt, result }) => {
    const [here, there] = [from, to].map((thread_id) => placeOf({ thread_id, key, attempt }));
    return encryption.move(Buffer.from(result, "base64"), here!, there!).toString("base64");
  });
  await tx.query({
    name: "reseal-results",
    text: `
      update effects e set result = moved.result
        from unnest($2::text[], $3::text[]) as moved(key, result)
       where e.thread_id = $1 and e.key = moved.key`,
    values: [to, rows.map(({ key }) => key), moved],
  });
}
