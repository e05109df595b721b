-- Jobs that were given up: their attempts are used up, or they can never succeed.
create table dead_letters (
    id            bigint      generated always as identity primary key,
    connection_id integer     not null references connections (id),
    -- The job's name in its lane: what it looks at.
    job_id        text        not null,
    -- `job::Priority` it ran with.
    priority      smallint    not null check (priority between 0 and 3),
    attempts      integer     not null,
    -- The last failure, without bodies or secrets.
    last_error    text        not null,
    -- When the job was enqueued first, by the queue's clock.
    first_seen    timestamptz not null,
    died_at       timestamptz not null default clock_timestamp(),
    -- W3C `traceparent` of the last attempt, or empty.
    trace         text        not null,

    -- A job is its record: dying again brings the row up to date.
    unique (connection_id, job_id)
);
