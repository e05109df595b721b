-- Runs that the planner of the spot checks begins, and what it reads to decide.

alter table bulk_runs
    -- A list of changes that the planner began, as a look at what it names. There may be one a minute,
    -- so it has no audit of its own, and is soon forgotten where it found nothing.
    add column planned boolean not null default false;

-- When a record type was read last, however that went.
create index bulk_runs_latest on bulk_runs (connection_id, record_type, id);

-- The types whose webhooks fail, looked for with each pass. Few rows.
create index record_habits_outages on record_habits (connection_id) where outage_since is not null;
