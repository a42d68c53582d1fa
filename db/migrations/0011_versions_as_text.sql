--! breaking
-- Processes from before this cannot read what later ones store: a short row has the versions of its channels as a text,
-- in which they may say what a row of checkpoint_blobs said; see docs/decisions/0035.
--
-- Nobody reads `type`. A row without a null has no map of its nulls: 8 bytes less for each checkpoint.
alter table checkpoints alter column type set default '';
