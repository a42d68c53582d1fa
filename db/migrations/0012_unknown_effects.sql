-- Finds effects of unknown outcome, of which there are few, among all that ever were. By a column of its own: with `state`
-- in an index none of the two updates of each effect would be HOT any more (measured: 0 % instead of all).
alter table effects add column is_unknown boolean not null generated always as (state = 'unknown') stored;
create index effects_unknown on effects (tenant, thread_id, key) where is_unknown;
