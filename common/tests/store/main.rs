//! Stories about the store, each in a database of its own. They need nothing but `DATABASE_URL`,
//! whose user may create databases.
#![cfg(test)]

mod alerts;
mod bulk_runs;
mod connections;
mod dead_letters;
mod drift;
mod inbox;
mod learning;
mod order;
mod partitions;
mod planning;
mod quality;
mod records;
mod repair;
mod scene;
mod schedules;
mod senders;
mod start;
