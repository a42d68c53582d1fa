-- Finds effects of unknown outcome, of which there are few, among all that ever were. By a column of its own: with `state`
-- in an index none of the two updates of each effect would be HOT any more (measured: 0 % instead of all).
alter table effects add column is_unknown boolean not null generated always as (state = 'unknown') stored;
create index effects_unknown on effects (tenant, thread_id, key) where is_unknown;

-- The content of a file under a key, in a column of its own: any bytes may be a content in clear, and an older process
-- that finds none fails, where it would have handed out what is sealed.
alter table file_contents
  add column sealed bytea,
  alter column content drop not null,
  add constraint file_contents_one_form check (num_nonnulls(content, sealed) = 1);
