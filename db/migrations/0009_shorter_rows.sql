--! breaking
-- Processes from before this cannot read what later ones store: texts are compressed, and the rows of checkpoints whose
-- values are in pieces are short; see docs/decisions/0029.
--
-- Of a short row: what is neither in `checkpoint`, which has the versions of its channels only, nor in another column.
alter table checkpoints add column rest bytea;
