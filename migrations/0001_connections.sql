-- One row for each account on a platform that is kept in step.
create table connections (
    -- Short, because it is part of every key of the mirror.
    id            integer     generated always as identity primary key,
    -- Its name everywhere outside Postgres: `klaviyo/main`. The form is that of `ids::Lane`.
    lane          text        not null unique
                              check (lane ~ '^[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}$'),
    -- The part of the lane before the slash.
    platform      text        not null generated always as (split_part(lane, '/', 1)) stored,
    -- What the platform calls the account; may be empty.
    account       text        not null,
    -- SHA-256 of the secret part of the webhook path. The secret is looked up by its hash, so that
    -- no timing tells a near miss, and a reader of this table cannot forge a webhook.
    endpoint_hash bytea       not null unique check (octet_length(endpoint_hash) = 32),
    -- Why nothing is sent for it until a person acts; null while it works.
    parked_reason text,
    parked_at     timestamptz,
    -- When its lane was opened for requests for the first time. A lane that was never opened
    -- cannot have sent anything, so its ledger may start empty instead of closed.
    opened_at     timestamptz,
    created_at    timestamptz not null default clock_timestamp(),

    check ((parked_reason is null) = (parked_at is null))
);
