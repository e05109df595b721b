//! The command line as an operator calls it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails here fails as it should"
)]

mod bodies;
mod fleet;
mod plan;
mod run;
mod secrets;
mod settings;
