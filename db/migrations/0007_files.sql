-- The files of a thread, by their content, so that each checkpoint can name those of its step.
create table file_contents (
  thread_id  text not null,
  -- SHA-256 of the content.
  hash       bytea not null,
  content    bytea not null,
  created_at timestamptz not null default now(),
  primary key (thread_id, hash)
);

-- All files at one moment: a sorted list of paths with the hashes of their contents.
create table file_versions (
  thread_id text not null,
  -- SHA-256 of the list.
  hash      bytea not null,
  entries   jsonb not null,
  primary key (thread_id, hash)
);

-- What happened to the files after a checkpoint and before the next one; the newest row of a checkpoint counts. Rows
-- without a checkpoint ('') are from before the first one.
create table file_changes (
  thread_id     text not null,
  checkpoint_id text not null,
  seq           bigint generated always as identity,
  version       bytea not null,
  -- The run and the effect that changed them; null for a person.
  run_id        text,
  effect_key    text,
  primary key (thread_id, checkpoint_id, seq),
  foreign key (thread_id, version) references file_versions (thread_id, hash)
);

-- The version that a checkpoint of the outermost graph began with: empty for no files, null where nobody knows, since the
-- process that wrote it kept no versions.
alter table checkpoints add column files bytea;
