-- Sealed: what a bridge signs its notices with, of a connection that was added.
alter table connection_credentials add column notice_secret bytea;

-- What sends a platform's webhooks to us: whether it does, and what was missed while it did not.
-- One row for each connection that takes webhooks and whose platform can say.
create table webhook_senders (
    connection_id integer     primary key references connections (id),
    -- 'ok': it sends. 'failing': it sends, and its last deliveries failed. 'off': it is there and
    -- does not send. 'missing': there is none. 'unknown': the platform would not say.
    state         text        not null
                              check (state in ('ok', 'failing', 'off', 'missing', 'unknown')),
    -- The same for people, in a sentence.
    what          text        not null,
    -- Since when it is in this state, as far as we have looked.
    since         timestamptz not null,
    -- When the last look began, and when the next is due.
    looked_at     timestamptz not null,
    due_at        timestamptz not null,
    -- When the last look began that found it sending.
    well_at       timestamptz,
    -- What was missed and is not being read yet: these record types, from this time on. Without a
    -- time nobody knows since when, and everything is read.
    gap_types     text[]      not null default '{}',
    gap_from      timestamptz
);

-- Which looks are due.
create index webhook_senders_due on webhook_senders (due_at);
