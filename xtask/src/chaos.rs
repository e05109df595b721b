//! `cargo xtask chaos`: private servers, then a fleet to which things are done.

use std::process::{Command, ExitCode};

use crate::{
    cargo::{Workspace, exit_code},
    servers::Servers,
    signals::Signals,
};

/// Builds everything, breaks things for so long, and passes on the verdict.
pub fn run(
    workspace: &Workspace,
    seconds: u32,
    seed: u64,
    signals: &Signals,
) -> anyhow::Result<ExitCode> {
    // All in one call, as for the demo.
    let mut build = workspace.cargo(["build", "--workspace", "--exclude", "xtask", "--bins"]);
    let status = signals.run(&mut build)?;
    if !status.success() {
        return Ok(exit_code(status));
    }
    let servers = Servers::start(&workspace.places(), signals)?;
    let mut chaos = Command::new(workspace.binary("syncline-chaos"));
    chaos.current_dir(workspace.root());
    chaos.args(["--seconds", &seconds.to_string(), "--seed", &seed.to_string()]);
    Ok(exit_code(signals.run(servers.give_to(&mut chaos))?))
}
