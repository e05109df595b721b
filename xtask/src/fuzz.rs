//! Fuzzing in the long tests: each target for a minute, where a nightly Rust and cargo-fuzz are.

use std::process::{Command, ExitCode};

use crate::{
    cargo::{Workspace, exit_code},
    signals::Signals,
};

/// The programs in `fuzz/`.
const TARGETS: [&str; 3] = ["webhooks", "canonical", "answers"];

/// Runs every target; the exit code is that of the first with a finding.
///
/// # Errors
///
/// When a program cannot be started, or a signal came.
pub fn run(workspace: &Workspace, signals: &Signals) -> anyhow::Result<ExitCode> {
    if !workspace.has_subcommand("fuzz") {
        eprintln!("xtask: fuzz targets are left out: install cargo-fuzz and a nightly Rust");
        return Ok(ExitCode::SUCCESS);
    }
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
}
