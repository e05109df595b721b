-- Audit samples: records drawn at random, whatever the plan says, and what a look at them found.
create table quality_samples (
    id            bigint      generated always as identity primary key,
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    external_id   text        not null,
    -- The bulk run whose audit it belongs to; null for those that are drawn all the time.
    run_id        bigint      references bulk_runs (id) on delete cascade,
    -- Of a run's samples, those with the lowest tickets stay: a hash of run and record.
    ticket        bigint,
    -- Null while the run still draws.
    drawn_at      timestamptz,
    judged_at     timestamptz,
    -- `right` and `wrong` count. The others were set aside: `told`, somebody told us meanwhile;
    -- `young`, the difference is too new to be held against us, or the read may lag; `changed`, the
    -- platform says that it changed after it was drawn; `expired`, nobody got to look.
    verdict       text        check (verdict in
                                     ('right', 'wrong', 'told', 'young', 'changed', 'expired')),

    check ((judged_at is null) = (verdict is null)),
    check (run_id is not null or drawn_at is not null),
    check ((run_id is null) = (ticket is null))
);

-- A record is drawn once by a run, and waits once otherwise.
create unique index quality_samples_of_run on quality_samples (run_id, external_id)
    where run_id is not null;
create unique index quality_samples_waiting
    on quality_samples (connection_id, record_type, external_id)
    where judged_at is null and run_id is null;

-- The lottery of a run.
create index quality_samples_tickets on quality_samples (run_id, ticket) where drawn_at is null;

-- What waits for its look: by record, when one is looked at, and by age.
create index quality_samples_open on quality_samples (connection_id, record_type, external_id)
    where judged_at is null and drawn_at is not null;
create index quality_samples_queue on quality_samples (connection_id, drawn_at)
    where judged_at is null and drawn_at is not null;

-- What is old enough to be forgotten.
create index quality_samples_judged on quality_samples (judged_at) where judged_at is not null;

-- The same, summed up by the hour, without those of runs.
create table quality_hours (
    connection_id integer not null references connections (id),
    record_type   text    not null,
    -- Whole hours since 1970.
    hour          bigint  not null,
    samples       bigint  not null,
    wrong         bigint  not null,
    set_aside     bigint  not null,

    primary key (connection_id, record_type, hour)
);

-- What the audit after a run found.
alter table bulk_runs
    add column audit_samples   integer,
    add column audit_wrong     integer,
    add column audit_set_aside integer,
    -- The share of its records that are right, at least, with a probability of 95 %; null until
    -- every sample was judged.
    add column confidence      double precision check (confidence between 0 and 1);
