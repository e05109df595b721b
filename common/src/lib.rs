//! What at least two of Syncline's processes need. Modules are listed from the bottom up; each
//! may use those above it (`tests/scenarios/layers.rs` holds the exact table).

pub mod credentials;
pub mod ids;
pub mod lifecycle;
pub mod retry;
pub mod telemetry;

pub mod confidence;
pub mod drift;
pub mod freshness;
pub mod job;
pub mod link;
pub mod quota;

pub mod config;

pub mod platform;
pub mod queue;
pub mod store;

pub mod fleet;
