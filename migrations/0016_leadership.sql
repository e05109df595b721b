-- Which of the schedulers leads. Who holds the advisory lock (`store::leadership`) writes its term
-- here; the row tells people who it is, and the next one how long the last one may still believe
-- that it leads. Nothing that must be right relies on it: ticks are unique rows.
create table leadership (
    -- There is one row.
    id            boolean     primary key default true check (id),
    -- Grows by one each time somebody begins to lead.
    term          bigint      not null check (term > 0),
    -- Host and process id of who leads, or led last.
    leader        text        not null,
    -- When this term began.
    began_at      timestamptz not null default clock_timestamp(),
    -- The leader believes that it leads until then at most, and moves it ahead with each check of
    -- its lock. Nobody else begins before; who resigns sets it to the present.
    trusted_until timestamptz not null
);
