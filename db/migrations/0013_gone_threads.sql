-- The last epoch of each thread that was deleted. One that is made again under its id begins above it: else whoever is
-- still at work for the old thread would pass the fence of the new one, and rows of the log would have numbers of the old
-- one's, which stay until their time is over.
create table gone_threads (
  thread_id uuid primary key,
  epoch     bigint not null,
  gone_at   timestamptz not null default now()
);

create index gone_threads_by_age on gone_threads (gone_at);

-- Triggers, since threads go in many ways, cascades and older processes among them. And since a thread may go while the
-- statement that makes it again waits for that: a trigger looks after the wait, its statement before.
create function keep_gone_thread() returns trigger language plpgsql as $$
begin
  insert into gone_threads (thread_id, epoch)
  values (old.thread_id, old.epoch)
      on conflict (thread_id) do update set epoch = greatest(gone_threads.epoch, excluded.epoch), gone_at = excluded.gone_at;
  return null;
end $$;

create trigger keep_gone_thread after delete on thread_owner
  for each row when (old.epoch > 0) execute function keep_gone_thread();

create function begin_above_gone_thread() returns trigger language plpgsql as $$
begin
  new.epoch := greatest(new.epoch, (select gone.epoch + 1 from gone_threads gone where gone.thread_id = new.thread_id));
  return new;
end $$;

create trigger begin_above_gone_thread before insert on thread_owner
  for each row execute function begin_above_gone_thread();
