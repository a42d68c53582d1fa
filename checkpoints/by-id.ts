/**
 * The end of a statement that selects the checkpoint with an id, of a thread and namespace that it has named before.
 *
 * Not `checkpoint_id = id`: on a table that nobody has analysed yet Postgres takes that for as cheap by
 * `checkpoints_newest`, and looks at every checkpoint of the thread. In the order of the key a range of one id is cheap by
 * the key alone. Of 5,000 checkpoints, one near the beginning: 1 row is read instead of 4,994.
 *
 * `checkpoint`: the table or its alias. `id`: an expression; null selects nothing.
 */
export function byId(checkpoint: string, id: string): string {
  return `${checkpoint}.checkpoint_id between ${id} and ${id} order by ${checkpoint}.checkpoint_id limit 1`;
}
