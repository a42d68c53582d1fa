-- Idempotency keys whose run is gone: rolled back, deleted with or without its thread, or stateless and over. A POST that
-- is sent again under such a key is refused; it would do again what somebody has seen done, or wanted undone.
create table spent_keys (
  tenant          text not null,
  idempotency_key text not null,
  run_id          uuid not null,
  -- When the run was created: keys are forgotten by their age, whether their run is still there or not.
  created_at      timestamptz not null,
  primary key (tenant, idempotency_key)
);

create index spent_keys_by_age on spent_keys (created_at);

-- A trigger, since a run's row goes in many ways, cascades and older processes among them. Runs without a key cost nothing.
create function keep_spent_key() returns trigger language plpgsql as $$
begin
  insert into spent_keys (tenant, idempotency_key, run_id, created_at)
  values (old.tenant, old.idempotency_key, old.run_id, old.created_at)
      on conflict do nothing;
  return null;
end $$;

create trigger keep_spent_key after delete on runs
  for each row when (old.idempotency_key is not null) execute function keep_spent_key();
