--! breaking
-- Processes from before this cannot read the values that later ones store.
--
-- A large value is kept as the pieces of its JSON text. Each large piece is a row of its own, once in a thread, under
-- the digest of its content; see docs/decisions/0017.
create table if not exists checkpoint_items (
  thread_id text not null,
  hash      uuid not null,
  item      bytea not null,
  primary key (thread_id, hash)
);

-- `items`: the large pieces, in the order in which `blob` refers to them. `base_version`: the version of the same
-- channel of which this one has the first `head` and the last `tail` pieces.
alter table checkpoint_blobs
  add column if not exists items uuid[],
  add column if not exists base_version text,
  add column if not exists head integer,
  add column if not exists tail integer;
alter table checkpoint_writes add column if not exists items uuid[];

-- Ascending, and read backwards: a new entry then goes to the right, where pages are filled; at the left each of them
-- splits half full. The run of a checkpoint is looked for once in a rollback, which reads all checkpoints of its thread.
create index checkpoints_newest on checkpoints (thread_id, checkpoint_ns, seq);
drop index checkpoints_by_seq;
drop index checkpoints_by_run;
