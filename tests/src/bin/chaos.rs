//! `cargo xtask chaos`: blows from a seeded schedule under load, and the ledger at the end.

use std::process::ExitCode;

use clap::Parser;
use tests::fault::chaos::{self, Arguments};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the plan and the verdict are what it is called for")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    for planned in arguments.plan() {
        println!("{planned}");
    }
    match Box::pin(chaos::run(&arguments)).await {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
