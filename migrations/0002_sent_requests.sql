-- Requests under quotas with long windows, recorded before each is sent: what a lost ledger is
-- rebuilt from without waiting for a whole window.
create table sent_requests (
    id            bigint      generated always as identity primary key,
    connection_id integer     not null references connections (id),
    -- The permit it was sent under, so that a rebuilt ledger holds the same members.
    permit_id     bigint      not null,
    -- Before the request left, by this server's clock.
    sent_at       timestamptz not null default clock_timestamp()
);

-- Rebuilding a ledger reads one connection's last window.
create index sent_requests_by_time on sent_requests (connection_id, sent_at);

-- Pruning goes by time alone. Rows arrive in that order, so a block-range index of a few pages
-- is enough.
create index sent_requests_prune on sent_requests using brin (sent_at);
