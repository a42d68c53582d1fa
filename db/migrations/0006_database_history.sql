-- Which history of which database this is, as the first process found it. Restored from a backup, or failed over, the
-- database is another history, and a process that starts compares.
create table database_history (
  only_row          boolean primary key default true check (only_row),
  system_identifier text not null,
  timeline_id       bigint not null,
  -- How often somebody has said that this database was restored.
  restores          integer not null default 0,
  recorded_at       timestamptz not null default now()
);
