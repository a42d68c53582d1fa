-- Which keys the values in this database are encrypted under, so that nobody goes on without them by mistake.
create table encryption_keys (
  key_id        text primary key,
  first_used_at timestamptz not null default now()
);

-- How long a thread stays after its last change, and what happens then: it goes, or its history but the newest state.
alter table threads
  add column ttl_minutes  double precision check (ttl_minutes > 0),
  add column ttl_strategy text check (ttl_strategy in ('delete', 'keep_latest')),
  -- When its history went last; until the thread changes there is nothing more to remove.
  add column pruned_at    timestamptz,
  add check ((ttl_minutes is null) = (ttl_strategy is null));
create index threads_with_ttl on threads (updated_at) where ttl_minutes is not null;
