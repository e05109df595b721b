-- When bulk runs start by themselves.
create table schedules (
    id            integer     generated always as identity primary key,
    connection_id integer     not null references connections (id),
    record_type   text        not null,
    -- The mode of the runs it starts (see bulk_runs).
    mode          text        not null check (mode in ('full', 'changes')),
    -- When, as the configuration says it.
    cron          text        not null,
    -- False once the configuration no longer has it; its ticks stay.
    enabled       boolean     not null default true,

    unique (connection_id, record_type, mode)
);

-- The ticks that were taken. The key makes two schedulers harmless: one of them has the row.
create table schedule_ticks (
    schedule_id integer     not null references schedules (id),
    -- The instant that the schedule named, not when it was noticed.
    tick        timestamptz not null,
    claimed_at  timestamptz not null default clock_timestamp(),
    -- The run it started; null where one was running already.
    run_id      bigint      references bulk_runs (id),

    primary key (schedule_id, tick)
);
