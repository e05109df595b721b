//! The console over real stores: what people see, and who does not.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails here fails as it should"
)]

mod admission;
mod page;
mod scene;
