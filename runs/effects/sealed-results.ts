/** Results of effects, and what people said about them, as their rows hold them: in clear, or with a key sealed to the row. */
import type { Encryption, Place } from "../../checkpoints/encryption.ts";
import { held } from "../../checkpoints/sealed-rows.ts";
import { movedText, readText, storedText } from "../../checkpoints/sealed-text.ts";
import type { Queryable } from "../../db/pool.ts";

interface ResultPlace {
  readonly thread_id: string;
  readonly key: string;
  readonly attempt: number;
}

const placeOf = ({ thread_id, key, attempt }: ResultPlace): Place => ({
  threadId: thread_id,
  row: ["effect", key, attempt],
});

export function storedResult(encryption: Encryption | undefined, at: ResultPlace, result: unknown): string {
  return storedText(encryption, JSON.stringify(result), placeOf(at));
}

/** Throws `checkpoint_unreadable`. */
export function readResult(encryption: Encryption | undefined, at: ResultPlace, stored: string): unknown {
  return JSON.parse(readText(encryption, stored, placeOf(at)));
}

/** Of an answer; what else the row says about it is part of what the seal guarantees. */
interface AnswerPlace extends ResultPlace {
  readonly task_id: string;
  readonly ordinal: number;
  readonly decision: string;
}

const answerPlace = ({ thread_id, key, attempt, task_id, ordinal, decision }: AnswerPlace): Place => ({
  threadId: thread_id,
  row: ["answer", key, attempt, task_id, ordinal, decision],
});

/** `message` and `sealed` of an answer: any text may be a message in clear, so what is sealed has a column of its own. */
export function storedMessage(encryption: Encryption | undefined, at: AnswerPlace, message: string | null) {
  if (message === null || !encryption) return { message, sealed: null };
  return { message: null, sealed: encryption.seal(Buffer.from(message), answerPlace(at)) };
}

/** `sealed`: in hex. Throws `checkpoint_unreadable`. */
export function readMessage(
  encryption: Encryption | undefined,
  at: AnswerPlace,
  { message, sealed }: { readonly message: string | null; readonly sealed: string | null },
): string | null {
  return sealed === null ? message : held(encryption).open(Buffer.from(sealed, "hex"), answerPlace(at)).toString();
}

/** Makes results and answers of a copied thread its own; in the transaction that copied the rows. */
export async function resealEffects(tx: Queryable, encryption: Encryption, copied: { from: string; to: string }) {
  await resealResults(tx, encryption, copied);
  await resealMessages(tx, encryption, copied);
}

async function resealResults(tx: Queryable, encryption: Encryption, { from, to }: { from: string; to: string }) {
  const { rows } = await tx.query<{ key: string; attempt: number; result: string }>({
    name: "sealed-results",
    text: "select key, attempt, result from effects where thread_id = $1 and result like '/%'",
    values: [to],
  });
  const moved = rows.map(({ key, attempt, result }) => {
    const at = (thread_id: string) => placeOf({ thread_id, key, attempt });
    return movedText(encryption, result, { from: at(from), to: at(to) });
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

async function resealMessages(tx: Queryable, encryption: Encryption, { from, to }: { from: string; to: string }) {
  const { rows } = await tx.query<AnswerPlace & { readonly sealed: Buffer }>({
    name: "sealed-messages",
    text: `
      select key, attempt, task_id, ordinal, decision, sealed
        from effect_answers where thread_id = $1 and sealed is not null`,
    values: [to],
  });
  for (const { sealed, ...at } of rows) {
    const placeIn = (thread_id: string) => answerPlace({ ...at, thread_id });
    await tx.query({
      name: "reseal-message",
      text: "update effect_answers set sealed = $5 where thread_id = $1 and key = $2 and task_id = $3 and ordinal = $4",
      values: [to, at.key, at.task_id, at.ordinal, encryption.move(sealed, placeIn(from), placeIn(to))],
    });
  }
}
