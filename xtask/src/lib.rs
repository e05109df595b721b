//! `cargo xtask`: everything a fresh machine needs to run, test, measure and show Syncline.
//!
//! From the bottom up: signals and processes, where server programs come from, the private
//! servers, and the commands that use them. Nothing of ours is used here, so that this crate
//! compiles in seconds and can build the rest.

pub mod lock;
pub mod process;
pub mod signals;

pub mod account;
pub mod apt;
pub mod find;
pub mod pypi;
pub mod releases;
pub mod setup;
pub mod version;

pub mod postgres;
pub mod redis;
pub mod run_folder;
pub mod secret;
pub mod server;
pub mod servers;

pub mod bench;
pub mod cargo;
pub mod chaos;
pub mod ci;
pub mod demo;
pub mod dev;
pub mod fuzz;
pub mod sqlx;
pub mod test;
