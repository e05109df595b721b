-- The mirror: one row for each record on a platform that we know of.
create table external_integrations (
    connection_id    integer     not null references connections (id),
    record_type      text        not null,
    external_id      text        not null,
    -- The record as it came, apart from what jsonb cannot hold (see `store::records::payload`).
    -- Null for a record that is known only as missing.
    payload          jsonb,
    -- xxh3-128 of the schema version and the canonical form of the fields that count.
    content_hash     bytea       check (octet_length(content_hash) = 16),
    -- The version of the rules that the hash was made by. Hashes of two versions cannot be compared.
    schema_version   integer     not null,
    -- Bit field: 1 deleted; 2 missing at the last look, to be confirmed by another;
    -- 4 forced by a person; 8 locked, not to be overwritten. 4 and 8 are reserved.
    flags            integer     not null,
    -- When it last changed in the platform's own words; a hint only.
    remote_version   timestamptz,
    -- The version of this row: when the fetch began that last wrote it (this server's clock), and
    -- the fence it was written under. A write with an older pair is refused.
    fetched_at       timestamptz not null,
    fence            bigint      not null,
    -- When the look began that found it missing first; null while it is there.
    missing_since    timestamptz,
    -- When the look began that first wrote the row.
    first_seen_at    timestamptz not null,
    -- When the look began that last found it different, deleted or restored.
    changed_at       timestamptz not null,
    -- The last time the row was known to be true. Differs from fetched_at while a deletion waits
    -- to be confirmed.
    last_verified_at timestamptz not null,
    -- Looks that wrote this row, and how many of them found a change: the raw material of its
    -- estimated change rate.
    checks           bigint      not null,
    changes          bigint      not null,
    -- Not before this is a spot check worth its request; null: any time.
    next_check_at    timestamptz,
    -- The last bulk run on one of whose pages it was.
    seen_in_run      bigint,

    primary key (connection_id, record_type, external_id),
    check ((payload is null) = (content_hash is null)),
    -- Deleted and suspected exclude each other, and both say since when.
    check (flags & 3 <> 3),
    check ((flags & 3 <> 0) = (missing_since is not null))
);

-- Spot checks: the records that were not looked at for longest. After a bulk run: those that the
-- run did not see.
create index external_integrations_longest_unchecked
    on external_integrations (connection_id, record_type, last_verified_at)
    where flags & 1 = 0;

-- Planned spot checks in the order in which they come due; costs nothing until there are any.
create index external_integrations_next_check
    on external_integrations (connection_id, next_check_at)
    where next_check_at is not null and flags & 1 = 0;

-- Deletions that wait for their second look, however the job for it was lost. Few rows.
create index external_integrations_suspected
    on external_integrations (connection_id, record_type, missing_since)
    where flags & 2 <> 0;
