//! The whole fleet under test, and the demo: what both need.

pub mod bench;
pub mod config_file;
pub mod demo;
pub mod fault;
pub mod http;
pub mod lanes;
pub mod mirror;
pub mod program;
pub mod scene;
pub mod statements;
pub mod token_endpoint;
pub mod vendor;
