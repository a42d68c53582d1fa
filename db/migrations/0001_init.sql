-- The ground: who works, what runs, what it said, what it did. The checkpoint tables are those of
-- @langchain/langgraph-checkpoint-postgres, set up before this file under the same lock.
--
-- Ids of threads and runs are unique across tenants, because the stock checkpoint tables know a thread by its id
-- alone; every other key and every index that serves a search begins with the tenant.

create table assistants (
  assistant_id uuid not null,
  tenant       text not null default 'default',
  created_by   text,
  graph_id     text not null,
  name         text not null default 'Untitled',
  description  text,
  config       jsonb not null default '{}',
  context      jsonb not null default '{}',
  metadata     jsonb not null default '{}',
  version      integer not null default 1,
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  primary key (tenant, assistant_id)
);
create index assistants_by_graph on assistants (tenant, graph_id);
create index assistants_by_metadata on assistants using gin (metadata jsonb_path_ops);

create table assistant_versions (
  assistant_id uuid not null,
  tenant       text not null default 'default',
  created_by   text,
  version      integer not null,
  graph_id     text not null,
  name         text not null,
  description  text,
  config       jsonb not null,
  context      jsonb not null,
  metadata     jsonb not null,
  created_at   timestamptz not null default now(),
  primary key (tenant, assistant_id, version),
  foreign key (tenant, assistant_id) references assistants on delete cascade
);

create table threads (
  thread_id        uuid primary key,
  tenant           text not null default 'default',
  created_by       text,
  status           text not null default 'idle' check (status in ('idle', 'busy', 'interrupted', 'error')),
  -- What the status is while no run is alive.
  rest_status      text not null default 'idle' check (rest_status in ('idle', 'interrupted', 'error')),
  graph_id         text,
  metadata         jsonb not null default '{}',
  config           jsonb not null default '{}',
  "values"         jsonb,
  interrupts       jsonb not null default '{}',
  error            jsonb,
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),
  state_updated_at timestamptz not null default now()
);
create index threads_by_update on threads (tenant, updated_at desc);
create index threads_by_creation on threads (tenant, created_at desc);
create index threads_by_status on threads (tenant, status, updated_at desc);
create index threads_by_metadata on threads using gin (metadata jsonb_path_ops);

-- Who may write on behalf of a thread. Narrow and without indexes beside its key, so that claims stay HOT updates.
-- A write for a run is fenced by holding this row FOR SHARE with the epoch it was claimed under.
create table thread_owner (
  thread_id uuid primary key references threads on delete cascade,
  epoch     bigint not null default 0,
  worker_id uuid
) with (fillfactor = 70);

create table workers (
  worker_id    uuid primary key,
  -- Key of the session advisory lock that the live worker holds; drawn by the database so that it is unique.
  lock_key     bigint generated always as identity unique,
  host         text not null,
  pid          integer not null,
  started_at   timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  lease_until  timestamptz not null
) with (fillfactor = 50);

-- The run row is the queue.
create table runs (
  run_id             uuid primary key,
  seq                bigint generated always as identity unique,
  tenant             text not null default 'default',
  created_by         text,
  thread_id          uuid not null references threads on delete cascade,
  assistant_id       uuid not null,
  graph_id           text not null,
  status             text not null default 'pending'
                     check (status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
  -- True for the head of its thread only: the run that is executing, or the one to be claimed next.
  ready              boolean not null default false,
  run_after          timestamptz not null default clock_timestamp(),
  attempt            integer not null default 0,
  epoch              bigint,
  worker_id          uuid,
  cancel_action      text check (cancel_action in ('interrupt', 'rollback')),
  multitask_strategy text not null default 'enqueue'
                     check (multitask_strategy in ('reject', 'enqueue', 'interrupt', 'rollback')),
  -- A run without a thread of its own: the thread goes when the run has ended.
  temporary          boolean not null default false,
  resumable          boolean not null default false,
  metadata           jsonb not null default '{}',
  kwargs             jsonb not null,
  graph_hash         text,
  error              jsonb,
  idempotency_key    text,
  request_digest     bytea,
  -- Whether the client is known to have got the answer to its POST; until then an equal POST is the same one, sent again.
  answered           boolean not null default false,
  created_at         timestamptz not null default now(),
  updated_at         timestamptz not null default now(),
  started_at         timestamptz,
  ended_at           timestamptz,
  check (status <> 'running' or (ready and worker_id is not null and epoch is not null)),
  check (not ready or status in ('pending', 'running')),
  check ((ended_at is not null) = (status not in ('pending', 'running')))
) with (fillfactor = 70);
create unique index one_head_per_thread on runs (thread_id) where ready;
create index runs_to_claim on runs (run_after, seq) where ready and status = 'pending';
create index runs_waiting on runs (run_after) where status = 'pending' and not ready;
create index runs_alive_on_thread on runs (thread_id, seq) where status in ('pending', 'running');
create index runs_of_worker on runs (worker_id) where status = 'running';
create index runs_by_thread on runs (tenant, thread_id, seq desc);
create index runs_unanswered on runs (request_digest) where not answered;
create unique index runs_idempotency on runs (tenant, idempotency_key) where idempotency_key is not null;

-- What clients were told, one row a flush, so that a dropped connection finds no gap. `seq` is epoch-major
-- (epoch * 2^32 + n): unique and growing for the life of a thread, whoever writes. No foreign key: the events of a
-- deleted run or thread outlive it for as long as a client may still be reading.
create table thread_events (
  thread_id  uuid not null,
  last_seq   bigint not null,
  tenant     text not null default 'default',
  run_id     uuid not null,
  -- JSON array of {"seq": "...", "event": "...", "data": ...}. Text, since jsonb would refuse U+0000.
  events     text not null,
  -- On the last row of a run: JSON of how it ended.
  outcome    text,
  created_at timestamptz not null default now(),
  primary key (thread_id, last_seq)
);
create index thread_events_by_run on thread_events (run_id, last_seq);
create index thread_events_by_age on thread_events (created_at);

-- Effects on the world outside, each dispatched at most once for its key.
create table effects (
  thread_id     uuid not null references threads on delete cascade,
  key           text not null,
  tenant        text not null default 'default',
  run_id        uuid not null,
  epoch         bigint not null,
  name          text not null,
  state         text not null default 'dispatched' check (state in ('dispatched', 'committed', 'failed')),
  result        text,
  dispatched_at timestamptz not null default now(),
  settled_at    timestamptz,
  primary key (thread_id, key),
  check ((settled_at is not null) = (state <> 'dispatched'))
);

-- Side effects of the server itself, written in the transaction of their cause and delivered at least once.
create table outbox (
  id           bigint generated always as identity primary key,
  tenant       text not null default 'default',
  created_by   text,
  kind         text not null,
  payload      jsonb not null,
  attempts     integer not null default 0,
  due_at       timestamptz not null default now(),
  last_error   text,
  failed_at    timestamptz,
  created_at   timestamptz not null default now()
);
create index outbox_due on outbox (due_at, id) where failed_at is null;

-- The newest checkpoint is the one stored last, not the one with the highest id: an id carries its writer's clock.
alter table checkpoints add column if not exists seq bigint generated always as identity;
create index if not exists checkpoints_by_seq on checkpoints (thread_id, checkpoint_ns, seq desc);
-- Rollback deletes what a run wrote, on checkpoints of earlier runs too.
alter table checkpoint_writes add column if not exists run_id text;
create index if not exists checkpoints_by_run on checkpoints (thread_id, (metadata ->> 'run_id'));
