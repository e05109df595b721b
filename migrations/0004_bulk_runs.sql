-- One row for each bulk sync of a record type. The run and its cursor live here and move in the
-- same transaction as the page they stand for.
create table bulk_runs (
    id              bigint      generated always as identity primary key,
    connection_id   integer     not null references connections (id),
    record_type     text        not null,
    -- `full` reads everything, `changes` only what changed since `changed_since`.
    mode            text        not null check (mode in ('full', 'changes')),
    -- `halted` waits for a person (too many records would be deleted).
    state           text        not null default 'running'
                                check (state in ('running', 'done', 'halted', 'failed')),
    -- Fixed for the whole run; null reads everything.
    changed_since   timestamptz,
    -- The platform's token for the next page, opaque; null before the first page and after the last.
    cursor          text,
    -- Pages written so far; together with the cursor it names the page that is due.
    pages           integer     not null default 0,
    -- Records on those pages, and how many of them were not as mirrored.
    records_seen    bigint      not null default 0,
    records_changed bigint      not null default 0,
    -- The latest time of change that the platform gave so far. Its clock, may lie in the future.
    latest_version  timestamptz,
    -- From where the next run of changes starts; set when the run is done.
    watermark       timestamptz,
    -- This server's clock before the first fetch.
    started_at      timestamptz not null default clock_timestamp(),
    -- When the cursor last moved: a running run that stands still has lost its job.
    moved_at        timestamptz not null default clock_timestamp(),
    finished_at     timestamptz,
    -- Why it was halted or failed.
    reason          text,

    check (mode = 'full' or changed_since is not null),
    check ((state = 'running') = (finished_at is null)),
    check ((state = 'done') = (watermark is not null)),
    check ((state in ('halted', 'failed')) = (reason is not null))
);

-- At most one run at a time for a record type, whoever asks.
create unique index bulk_runs_one_running on bulk_runs (connection_id, record_type)
    where state = 'running';

-- The watermark of a record type is that of its last finished run; and whether there ever was a
-- full one tells an import from drift.
create index bulk_runs_done on bulk_runs (connection_id, record_type, mode, id)
    where state = 'done';
