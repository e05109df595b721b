//! `cargo xtask demo`: private servers, then the whole fleet in front of simulated platforms.

use std::{
    io::{IsTerminal as _, stdout},
    process::{Command, ExitCode},
};

use crate::{
    cargo::{Workspace, exit_code},
    servers::Servers,
    signals::Signals,
};

/// How long it runs where nobody can press Ctrl-C.
const SECONDS_WITHOUT_TERMINAL: u32 = 60;

/// Builds everything, shows it, and passes on the demo's verdict.
pub fn run(
    workspace: &Workspace,
    seconds: Option<u32>,
    args: &[String],
    signals: &Signals,
) -> anyhow::Result<ExitCode> {
    // All in one call: cargo unites features over what it builds together, and the demo starts
    // the other programs from the same folder.
    let mut build = workspace.cargo(["build", "--workspace", "--exclude", "xtask", "--bins"]);
    let status = signals.run(&mut build)?;
    if !status.success() {
        return Ok(exit_code(status));
    }
    let servers = Servers::start(&workspace.places(), signals)?;
    let mut demo = Command::new(workspace.binary("syncline-demo"));
    demo.current_dir(workspace.root());
    if let Some(seconds) = length(seconds, stdout().is_terminal()) {
        demo.arg("--seconds").arg(seconds.to_string());
    }
    demo.args(args);
    Ok(exit_code(signals.run(servers.give_to(&mut demo))?))
}

fn length(wished: Option<u32>, has_terminal: bool) -> Option<u32> {
    wished.or((!has_terminal).then_some(SECONDS_WITHOUT_TERMINAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_the_demo_ends_by_itself() {
        assert_eq!(length(None, false), Some(60));
        assert_eq!(length(None, true), None);
        assert_eq!(length(Some(5), true), Some(5));
        assert_eq!(length(Some(5), false), Some(5));
    }
}
