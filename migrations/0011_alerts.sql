-- What a person should know of and act on, raised and cleared by whoever watches it. One row tells
-- of a trouble from its beginning to its end, however often it is seen meanwhile.
create table alerts (
    id            bigint      generated always as identity primary key,
    -- Whose trouble it is; null where it is that of the whole fleet.
    connection_id integer     references connections (id),
    -- What kind of trouble: `sender-off`.
    kind          text        not null check (kind ~ '^[a-z0-9-]{1,64}$'),
    -- Of what, where a connection can have several of a kind: a record type; else empty.
    subject       text        not null default '',
    -- A sentence for people, as of the last time that it was seen. No bodies, no secrets.
    message       text        not null,
    -- The same in figures, for programs.
    detail        jsonb       not null default '{}' check (jsonb_typeof(detail) = 'object'),
    raised_at     timestamptz not null default clock_timestamp(),
    -- When it was seen last, and how often so far.
    last_at       timestamptz not null default clock_timestamp(),
    count         bigint      not null default 1 check (count > 0),
    -- When it was over; null while it is open.
    cleared_at    timestamptz
);

-- What is open: at most one row for a trouble, that of the fleet too.
create unique index alerts_open on alerts (connection_id, kind, subject) nulls not distinct
    where cleared_at is null;

-- The list of the latest, and pruning.
create index alerts_by_time on alerts (raised_at desc);
