-- What opens the accounts whose secrets are kept here: those that were added with
-- `syncline connections add`, and those whose tokens are renewed. What is called sealed is
-- encrypted under a key that Postgres never sees, and opens only in its own connection, row and
-- column (common/src/credentials).
create table connection_credentials (
    connection_id      integer     not null references connections (id),
    -- 'added': by `syncline connections add`; the whole connection is described here.
    -- 'configured': the configuration describes it; here are its renewed tokens.
    -- A connection may have both: then the configuration counts, and the other is kept.
    origin             text        not null check (origin in ('added', 'configured')),
    -- Grows with each token that takes the place of another. Whoever was refused with an older one
    -- takes this one, and does not renew it again.
    version            bigint      not null default 1 check (version > 0),

    -- Of an added one: what else its table in the configuration would say, without secrets.
    settings           jsonb,
    -- SHA-256 of the secret part of its webhook path, as in connections; null without webhooks.
    endpoint_hash      bytea       check (octet_length(endpoint_hash) = 32),
    -- Sealed: what the platform signs its webhooks with.
    webhook_secret     bytea,

    -- Sealed: what is sent with each request; null until the first renewal brings one.
    token              bytea,
    -- Sealed: what the next token is asked for with; null where the token lasts.
    refresh_token      bytea,
    -- Who asks, of an added one: the platform's name for our application, and, sealed, its secret.
    client_id          text        not null default '',
    client_secret      bytea,
    -- Of a configured one: SHA-256 of the refresh token that the configuration began with. When it
    -- differs, a person has connected the account anew.
    seed_hash          bytea       check (octet_length(seed_hash) = 32),

    -- When the token ends; null where nobody said.
    expires_at         timestamptz,
    -- When the token was renewed last; null while it is the one that a person put in.
    refreshed_at       timestamptz,
    -- A renewal is under way since; null while none is. One that is older than a renewal can take
    -- has died.
    refresh_begun_at   timestamptz,
    -- Since when it is unknown whether the refresh token was used: a renewal was begun then, and
    -- nobody has seen its answer.
    refresh_lost_at    timestamptz,
    -- Renewals in a row that brought nothing, and when the next may begin.
    refresh_failures   integer     not null default 0,
    refresh_not_before timestamptz,
    -- Why the platform refuses the refresh token; it is not tried again until a person acts.
    refused            text,

    primary key (connection_id, origin),
    check ((settings is not null) = (origin = 'added')),
    check ((seed_hash is not null) = (origin = 'configured')),
    check (token is not null or refresh_token is not null)
);
