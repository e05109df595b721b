-- The history: what was done to which record, why, and how long its notice had waited. One
-- partition a day; retention drops whole partitions.

-- A sequence of its own: the key of a partitioned table cannot be an identity column that
-- partitions share before Postgres 17.
create sequence sync_operations_id as bigint;

create table sync_operations (
    id              bigint      not null default nextval('sync_operations_id'),
    at              timestamptz not null default clock_timestamp(),
    -- No foreign key: history outlives what it tells of, and inserts stay cheap.
    connection_id   integer     not null,
    record_type     text        not null,
    -- Null for the summary of a page.
    external_id     text,
    -- `record`: one record; `page`: the summary of a page of a bulk run, which stands for the
    -- records that were as mirrored.
    kind            text        not null check (kind in ('record', 'page')),
    -- Why somebody looked.
    trigger         text        not null
                                check (trigger in ('webhook', 'manual', 'bulk', 'spot-check')),
    -- What became of the record (`store::records::Outcome`); null for a page.
    outcome         text,
    -- Open notices that this operation answered, and when the first of them came in:
    -- at - first_notice_at is how long the mirror was known to be behind.
    notices_closed  integer     not null,
    first_notice_at timestamptz,
    -- When the fetch began, and the fence of its lease.
    fetched_at      timestamptz not null,
    fence           bigint      not null,
    job_id          text        not null,
    -- W3C `traceparent` of the span that wrote it, or empty.
    trace           text        not null,
    -- A record: the difference, field by field, or the reason why nothing could be said.
    -- A page: how many records came to which outcome.
    detail          jsonb,

    -- A unique key must contain the partition key.
    primary key (at, id),
    check ((kind = 'page') = (external_id is null)),
    check ((kind = 'page') = (outcome is null))
) partition by range (at);

alter sequence sync_operations_id owned by sync_operations.id;

-- The history of one record, latest first.
create index sync_operations_by_record
    on sync_operations (connection_id, record_type, external_id, at desc);

-- Where rows go for whose day there is no partition. Should stay empty; nothing is lost when not.
create table sync_operations_default partition of sync_operations default;

-- Makes the partitions of today and of the `days_ahead` days after it, by UTC; returns how many
-- are new. Rows that already wait in the default partition are moved. Safe to run twice at once.
create function ensure_sync_operations_partitions(days_ahead integer) returns integer
language plpgsql as $$
declare
    day        date;
    day_start  timestamptz;
    day_end    timestamptz;
    partition  text;
    created    integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('sync_operations partitions'));
    for n in 0 .. days_ahead loop
        day := (clock_timestamp() at time zone 'UTC')::date + n;
        day_start := day::timestamp at time zone 'UTC';
        day_end := (day + 1)::timestamp at time zone 'UTC';
        partition := 'sync_operations_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass(partition) is not null;

        -- No row may slip into the default partition between the move and the attachment.
        lock table sync_operations_default in access exclusive mode;
        execute format('create table %I (like sync_operations including defaults including constraints)', partition);
        execute format(
            'with moved as (delete from sync_operations_default where at >= %L and at < %L returning *)
             insert into %I select * from moved', day_start, day_end, partition);
        -- Attaching a table, unlike creating it in place, does not lock the whole history.
        execute format('alter table sync_operations attach partition %I for values from (%L) to (%L)',
                       partition, day_start, day_end);
        created := created + 1;
    end loop;
    return created;
end
$$;

-- Drops the partitions of the days that ended more than `keep` ago; returns how many.
create function drop_sync_operations_partitions(keep interval) returns integer
language plpgsql as $$
declare
    partition text;
    dropped   integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('sync_operations partitions'));
    for partition in
        select c.relname
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'sync_operations'::regclass
           and c.relname ~ '^sync_operations_[0-9]{8}$'
           and (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC'
               < clock_timestamp() - keep
    loop
        execute format('drop table %I', partition);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;
