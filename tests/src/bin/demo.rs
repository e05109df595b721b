//! `cargo xtask demo`: the whole fleet in front of four simulated platforms.

use std::process::ExitCode;

use clap::Parser;
use tests::demo::{self, Arguments};

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
