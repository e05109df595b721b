-- What is learnt about how records change, and when each of them is looked at next.

alter table external_integrations
    -- How likely what was seen of the record is for each of sixteen change rates
    -- (`freshness::GridEvidence`): sixteen little-endian 4-byte floats. Null: nothing was seen yet.
    add column evidence bytea check (octet_length(evidence) = 64),
    -- What a day of the record's freshness is worth, by configuration, as of its last look.
    add column weight real not null default 1,
    -- It is not planned before this: nothing could be said about it, or it is out of reach, or its
    -- check waits in the queue. Null: any time.
    add column not_before timestamptz;

-- Random records of a type, without reading all of them: a record's place on the circle of hashes is
-- fixed, a window of it is drawn.
create index external_integrations_by_hash
    on external_integrations (connection_id, record_type, hashtextextended(external_id, 0))
    where flags & 1 = 0;

-- One row for each record type of a connection: what its records have in common.
create table record_habits (
    connection_id   integer          not null references connections (id),
    record_type     text             not null,
    -- How many of its records change how often (`freshness::GridPrior`): sixteen weights. Null:
    -- not fitted yet.
    prior           double precision[] check (cardinality(prior) = 16),
    fitted_at       timestamptz,
    -- From what recall and false notices are estimated (`freshness::NoticeCounts`).
    announced       double precision not null default 0,
    expected        double precision not null default 0,
    silent          double precision not null default 0,
    silent_exposure double precision not null default 0,
    false_notices   double precision not null default 0,
    exposure_days   double precision not null default 0,
    -- Changes that were found since the row was made: announced by a webhook, or by a look alone.
    -- They only grow; the watch over the webhooks reads what came since it looked last.
    told_changes    bigint           not null default 0,
    silent_changes  bigint           not null default 0,
    watched_told    bigint           not null default 0,
    watched_silent  bigint           not null default 0,
    -- The watch's alarm (`confidence::RiseAlarm`), and since when webhooks seem to fail.
    watch           jsonb,
    outage_since    timestamptz,

    primary key (connection_id, record_type)
);

-- One row for each connection: what a request for a spot check has to be worth.
create table lane_prices (
    connection_id integer          primary key references connections (id),
    -- lambda, in weighted days of freshness for a request.
    price         double precision not null check (price > 0),
    -- When it was last moved.
    moved_at      timestamptz      not null default clock_timestamp()
);

-- What was planned by age alone comes due by its age.
update external_integrations
   set next_check_at = last_verified_at
 where next_check_at is null and flags & 3 = 0;
