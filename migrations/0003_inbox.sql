-- Webhooks and manual requests that no write has answered yet: the commit of a row is the point
-- of acceptance. Only open notices are kept; closing one deletes it, its trace is in the history.
create table inbox (
    -- The order of acceptance, roughly: a transaction that commits later may have a smaller id.
    id            bigint      generated always as identity primary key,
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    external_id   text        not null,
    -- `job::Priority`: 0 webhook, 1 manual, 2 bulk, 3 spot check.
    priority      smallint    not null check (priority between 0 and 3),
    -- Who said so.
    source        text        not null check (source in ('webhook', 'manual')),
    -- One number for all notices of one delivery.
    delivery      uuid        not null,
    received_at   timestamptz not null default clock_timestamp(),
    -- W3C `traceparent` of the request that brought it, or empty.
    trace         text        not null
)
-- A queue: nearly every row is deleted soon. Vacuum by count, or a large table hides many dead rows.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Before a fetch: the open notices of the records that it will answer.
create index inbox_by_record on inbox (connection_id, record_type, external_id);
