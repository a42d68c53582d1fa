-- Effects as a state machine: reserved -> dispatched -> committed | failed | unknown. The key stays what it was, the
-- tool call and a digest of its arguments: an older process beside this one finds each row, and sends nothing that was
-- sent. The task is a column. Rows of older processes have no kind, task or deadline.
alter table effects
  add column kind            text check (kind in ('idempotent', 'irreversible')),
  add column task_id         text,
  add column tool_call_id    text,
  -- What the other side was told; absent for "<thread_id>:<key>". A copied thread keeps that of its original.
  add column idempotency_key text,
  -- How often it was dispatched.
  add column attempt         integer not null default 1,
  -- Nothing is sent any more after it.
  add column deadline        timestamptz,
  alter column dispatched_at drop not null,
  drop constraint effects_state_check,
  drop constraint effects_check,
  add constraint effects_state_check check (state in ('reserved', 'dispatched', 'committed', 'failed', 'unknown')),
  add constraint effects_columns_of_state check (
    case state
      when 'reserved'   then dispatched_at is null and deadline is null and settled_at is null and result is null
      when 'dispatched' then dispatched_at is not null and settled_at is null and result is null
      when 'unknown'    then dispatched_at is not null and settled_at is not null and result is null
      when 'committed'  then settled_at is not null and result is not null
      else settled_at is not null
    end);

-- What people said about effects whose outcome was unknown: each answer of a task once, by its place among them.
create table effect_answers (
  thread_id   uuid not null,
  key         text not null,
  task_id     text not null,
  ordinal     integer not null,
  attempt     integer not null,
  decision    text not null check (decision in ('happened', 'not_happened', 'abandon', 'unclear')),
  -- Why it does not count; absent when it does.
  refusal     text check (refusal in ('unclear', 'too_early')),
  message     text,
  run_id      uuid not null,
  answered_by text,
  answered_at timestamptz not null default clock_timestamp(),
  primary key (thread_id, key, task_id, ordinal),
  foreign key (thread_id, key) references effects on delete cascade,
  check (decision <> 'unclear' or refusal is not null)
);
-- Whoever decides first decides for all; to leave it open is each task's own.
create unique index effect_decided_once on effect_answers (thread_id, key, attempt)
 where refusal is null and decision in ('happened', 'not_happened');
create unique index effect_abandoned_once on effect_answers (thread_id, key, attempt, task_id)
 where refusal is null and decision = 'abandon';
