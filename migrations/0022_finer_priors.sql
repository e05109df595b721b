-- Priors of types are told apart in eighths of an octave, and what rows hold is said anew.

alter table record_habits drop constraint record_habits_prior_check;
alter table record_habits
    add constraint record_habits_prior_check check (cardinality(prior) in (16, 121));

comment on column record_habits.prior is
    'How many of its records change how often (freshness::GridPrior): 121 weights, of rates an eighth '
    'of an octave apart, from one change in 512 days to 64 a day; 16 of whole octaves where it was not '
    'fitted since that was all. Null: not fitted yet.';
comment on column external_integrations.evidence is
    'What was seen of the record (freshness::GridEvidence): sixteen little-endian 4-byte floats, which '
    'are days without a change, changes found by fourteen exposures, and how surprising the last looks '
    'were. Where the first is not positive: the logarithms of the likelihoods of sixteen change rates. '
    'Null: nothing was seen yet.';
