-- Differences that nothing had told us of: the durable queue of drift. A row is open until the
-- write that repairs it; where the fetch held the whole record that is the same transaction.
create table drift_events (
    id            bigint      generated always as identity primary key,
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    external_id   text        not null,
    -- How the mirror was wrong: the record had changed, come into being, gone or come back.
    kind          text        not null check (kind in ('changed', 'created', 'deleted', 'restored')),
    found_at      timestamptz not null default clock_timestamp(),
    -- What kind of look found it.
    found_by      text        not null check (found_by in ('bulk', 'spot-check')),
    -- Content hashes before and after; null where there was no record.
    old_hash      bytea,
    new_hash      bytea,
    -- The difference, field by field, where it was worked out.
    diff          jsonb,
    -- When, and by which operation of the history, the mirror became true. The history is dropped
    -- sooner than this table, so there is no foreign key.
    repaired_at   timestamptz,
    repaired_by   bigint,

    check ((repaired_at is null) = (repaired_by is null))
);

-- The console's list, latest first, and the drift found since an instant.
create index drift_events_by_time on drift_events (found_at desc);

-- One record's drift; also how often it was repaired in the last hour.
create index drift_events_by_record
    on drift_events (connection_id, record_type, external_id, found_at);

-- What is still open: at most one row for a record.
create unique index drift_events_open on drift_events (connection_id, record_type, external_id)
    where repaired_at is null;
