-- Runs that end the process that executes them, and how the main loop of each worker does.

alter table runs
  -- A worker died with it, and it had stored no checkpoint since it was claimed: from then on it executes alone.
  add column suspect boolean not null default false,
  -- Workers that died while they executed it alone, without a checkpoint in between.
  add column stalled_attempts integer not null default 0,
  -- Checkpoints of the thread with a higher `seq` were stored after the claim.
  add column claimed_seq bigint,
  -- The epoch under which it executes alone; an older one, or null, if the present owner has company.
  add column alone_epoch bigint;
create index runs_suspected on runs (run_after, seq) where ready and status = 'pending' and suspect;

alter table workers
  add column concurrency integer not null default 0,
  -- Longest delay of the main loop since the heartbeat before, in milliseconds.
  add column loop_lag_ms real not null default 0;
