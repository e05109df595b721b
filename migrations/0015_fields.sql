-- Fields of records that a person excluded from the comparison: they are mirrored and do not count.
create table excluded_fields (
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    -- A JSON Pointer (RFC 6901) into the canonical form; a step `*` stands for any.
    pointer       text        not null,
    excluded_at   timestamptz not null default clock_timestamp(),

    primary key (connection_id, record_type, pointer)
);

-- Fields that do not settle: they change back and forth, and every look finds drift.
create table flipping_fields (
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    pointer       text        not null,
    -- Of the last pass that saw them: records in which it went back and forth, and how often.
    records       bigint      not null,
    flips         bigint      not null,
    -- One of those records, for whoever looks into it.
    external_id   text        not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    last_seen_at  timestamptz not null default clock_timestamp(),

    primary key (connection_id, record_type, pointer)
);
