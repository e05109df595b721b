-- Roles with least rights, one for each process: what it needs in the tables of Syncline, and no
-- more. None of them may log in: make a user for each process and grant it the role,
--
--     create role fleet_worker login password '...' in role syncline_worker;
--
-- Run this as the owner of the tables who may create roles, after each `syncline migrate`. It may be
-- run again; it takes back what a role no longer needs.

do $$
declare
    process text;
begin
    foreach process in array array['worker', 'ingress', 'scheduler', 'console'] loop
        begin
            execute format('create role %I nologin', 'syncline_' || process);
        exception when duplicate_object or unique_violation then null;
        end;
        execute format('revoke all on all tables in schema public from %I', 'syncline_' || process);
        execute format('revoke all on all sequences in schema public from %I', 'syncline_' || process);
        execute format('grant usage on schema public to %I', 'syncline_' || process);
    end loop;
end
$$;

-- Nobody makes tables here but who migrates.
revoke create on schema public from public;
revoke execute on function ensure_sync_operations_partitions(integer) from public;
revoke execute on function drop_sync_operations_partitions(interval) from public;

-- What every process but the console does at its start: it writes the configured connections down,
-- opens those that were added, and seeds the tokens of those with `oauth`. What is sealed opens only
-- with the key.
grant select, insert on connections to syncline_worker, syncline_ingress, syncline_scheduler;
grant update (account, endpoint_hash) on connections
    to syncline_worker, syncline_ingress, syncline_scheduler;
grant select, insert, update on connection_credentials
    to syncline_worker, syncline_ingress, syncline_scheduler;

-- The worker looks and writes.
grant update (parked_reason, parked_at, opened_at) on connections to syncline_worker;
grant select, insert on sent_requests to syncline_worker;
grant select, insert, delete on inbox to syncline_worker;
grant select, insert, update on bulk_runs to syncline_worker;
grant select, insert, update on external_integrations to syncline_worker;
grant select, insert on sync_operations to syncline_worker;
grant usage on sequence sync_operations_id to syncline_worker;
grant select, insert, update on drift_events to syncline_worker;
grant select, insert, update on dead_letters to syncline_worker;
grant select, insert, update on record_habits, quality_hours, alerts to syncline_worker;
grant select, insert, update, delete on quality_samples to syncline_worker;
grant select, insert, update on webhook_senders to syncline_worker;
grant select on lane_prices, excluded_fields to syncline_worker;

-- The ingress accepts, and reads nothing of the mirror.
grant insert on inbox to syncline_ingress;

-- The scheduler decides, and drops what is too old.
grant select on inbox, external_integrations, dead_letters to syncline_scheduler;
grant update (next_check_at, not_before) on external_integrations to syncline_scheduler;
grant select, insert, update, delete on bulk_runs, schedules, schedule_ticks to syncline_scheduler;
grant select, delete on sent_requests, drift_events to syncline_scheduler;
grant select, insert, update on leadership, lane_prices, record_habits to syncline_scheduler;
grant select on webhook_senders to syncline_scheduler;
grant select, insert, update, delete on alerts, quality_samples, quality_hours to syncline_scheduler;
grant select on excluded_fields to syncline_scheduler;
grant select, insert, update, delete on flipping_fields to syncline_scheduler;
-- Of the mirror it moves the plan, and nothing else.
grant update (next_check_at, not_before) on external_integrations to syncline_scheduler;
grant execute on function ensure_sync_operations_partitions(integer) to syncline_scheduler;
grant execute on function drop_sync_operations_partitions(interval) to syncline_scheduler;

-- The console shows, and sees no secret, sealed or not.
grant select on connections, inbox, bulk_runs, external_integrations, sync_operations, drift_events,
                dead_letters, schedules, schedule_ticks, leadership, alerts, webhook_senders,
                record_habits, lane_prices, quality_samples, quality_hours, excluded_fields,
                flipping_fields
    to syncline_console;
