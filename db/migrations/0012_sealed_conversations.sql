-- What a person has said about an effect, under a key, in a column of its own: any text may be a message in clear.
alter table effect_answers
  add column sealed bytea,
  add constraint effect_answers_one_form check (num_nonnulls(message, sealed) <= 1);

-- Where keys are in use, processes from before this may not start any more: they would show what is sealed as if it were
-- an answer (checkpoints/encryption-keys.ts says so in pawl_migrations). Nobody else is concerned.
