//! Fuzzing in the long tests: each target for a minute. What it needs is installed where it is missing.

use std::process::{Command, ExitCode, Stdio};

use crate::{
    cargo::{Workspace, exit_code},
    signals::{Interrupted, Signals},
};

/// The programs in `fuzz/`.
const TARGETS: [&str; 3] = ["webhooks", "canonical", "answers"];

/// Sees to it that there are cargo-fuzz and a nightly Rust. Before the tests: who has waited for them
/// is not to learn at the end that something is missing.
///
/// # Errors
///
/// When one is missing and cannot be installed, or a signal came.
pub fn prepare(workspace: &Workspace, signals: &Signals) -> anyhow::Result<()> {
    for (what, mut command) in installs(workspace, workspace.has_subcommand("fuzz"), has_nightly())
    {
        eprintln!("xtask: installing {what}");
        signals.run_tool(&mut command).map_err(|error| {
            if error.is::<Interrupted>() { error } else { error.context(instructions(what)) }
        })?;
    }
    Ok(())
}

/// What is to be called for what is missing.
fn installs(
    workspace: &Workspace,
    has_cargo_fuzz: bool,
    has_nightly: bool,
) -> Vec<(&'static str, Command)> {
    let mut commands = Vec::new();
    if !has_nightly {
        let mut rustup = Command::new("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        commands.push(("a nightly Rust", rustup));
    }
    if !has_cargo_fuzz {
        commands.push(("cargo-fuzz", workspace.cargo(["install", "--locked", "cargo-fuzz"])));
    }
    commands
}

/// What a person has to do when we can do no more.
fn instructions(what: &str) -> String {
    format!(
        "the long tests fuzz, and {what} could not be installed. Do it by hand, then run this again:\n\
         \x20 rustup toolchain install nightly\n\
         \x20 cargo install cargo-fuzz"
    )
}

fn has_nightly() -> bool {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", "nightly", "rustc", "--version"]);
    rustc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    rustc.status().is_ok_and(|status| status.success())
}

/// Runs every target; the exit code is that of the first with a finding.
///
/// # Errors
///
/// When a program cannot be started, or a signal came.
pub fn run(workspace: &Workspace, signals: &Signals) -> anyhow::Result<ExitCode> {
    for target in TARGETS {
        eprintln!("xtask: fuzzing {target} for a minute");
        let status = signals.run(&mut command(workspace, target))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// libFuzzer needs a compiler with sanitizers, which only nightly has: rustup picks it by name.
fn command(workspace: &Workspace, target: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "run", target, "--", "-max_total_time=60"]);
    command.current_dir(workspace.root());
    // What cargo tells its children of itself would take the choice of a toolchain away.
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC"] {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_run() {
        let workspace = Workspace::current().unwrap();
        let manifest =
            std::fs::read_to_string(workspace.root().join("fuzz").join("Cargo.toml")).unwrap();
        let bins = manifest.split("[[bin]]").skip(1);
        let named: Vec<_> = bins
            .filter_map(|bin| bin.lines().find_map(|line| line.strip_prefix("name = ")))
            .map(|name| name.trim_matches('"'))
            .collect();
        assert_eq!(named, TARGETS);
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let workspace = Workspace::current().unwrap();
        let named = |has_cargo_fuzz, has_nightly| {
            let installs = installs(&workspace, has_cargo_fuzz, has_nightly);
            installs.into_iter().map(|(what, _)| what).collect::<Vec<_>>()
        };
        assert!(named(true, true).is_empty());
        assert_eq!(named(false, true), ["cargo-fuzz"]);
        assert_eq!(named(true, false), ["a nightly Rust"]);
        assert_eq!(named(false, false), ["a nightly Rust", "cargo-fuzz"]);
    }
}
