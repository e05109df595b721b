-- A write that met the making of a partition failed: it had found its way to the default partition,
-- waited for its lock, and was then refused there ("violates partition constraint"). Now writers are
-- kept out before they look for their partition.
--
-- Both functions run with the rights of who migrates: a scheduler may call them, and may neither
-- make nor drop a table otherwise.
create or replace function ensure_sync_operations_partitions(days_ahead integer) returns integer
language plpgsql security definer set search_path from current as $$
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

        -- Waits for the writes that run, and lets no other begin until this commits. Readers are
        -- not kept from the days that are there.
        lock table sync_operations in share row exclusive mode;
        lock table sync_operations_default in access exclusive mode;
        execute format('create table %I (like sync_operations including defaults including constraints)', partition);
        execute format(
            'with moved as (delete from sync_operations_default where at >= %L and at < %L returning *)
             insert into %I select * from moved', day_start, day_end, partition);
        execute format('alter table sync_operations attach partition %I for values from (%L) to (%L)',
                       partition, day_start, day_end);
        created := created + 1;
    end loop;
    return created;
end
$$;

alter function drop_sync_operations_partitions(interval) security definer;
alter function drop_sync_operations_partitions(interval) set search_path from current;
