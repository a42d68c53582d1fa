/**
 * One change of a workspace after the other: an edit reads before it writes, and a limit is looked at before it is
 * used up. Within this process; a thread's run is in one process, and another one's upload can only come in between.
 */
const last = new Map<string, Promise<unknown>>();

/** Runs `work` when the earlier ones of `key` have ended, however they did. */
export async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
  const before = last.get(key) ?? Promise.resolve();
  const turn = before.then(work, work);
  last.set(key, turn);
  try {
    return await turn;
  } finally {
    if (last.get(key) === turn) last.delete(key);
  }
}
