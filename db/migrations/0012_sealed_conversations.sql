-- What a person has said about an effect, under a key, in a column of its own: any text may be a message in clear.
alter table effect_answers
  add column sealed bytea,
  add constraint effect_answers_one_form check (num_nonnulls(message, sealed) <= 1);
