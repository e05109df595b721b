//! `cargo xtask test`: private servers, then every test of the workspace.

use std::process::{Command, ExitCode};

use crate::{
    cargo::{Workspace, exit_code},
    fuzz,
    servers::Servers,
    signals::Signals,
};

/// The package whose tests start the programs of the others.
const STORIES: &str = "tests";

/// What to test.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Passed on to the test runner; empty: everything, doc tests too.
    pub args: Vec<String>,
    /// Also those that take minutes.
    pub long: bool,
}

/// Runs the tests; the exit code is that of the first runner that failed.
pub fn run(
    workspace: &Workspace,
    selection: &Selection,
    signals: &Signals,
) -> anyhow::Result<ExitCode> {
    let fuzzes = selection.long && selection.args.is_empty();
    if fuzzes {
        fuzz::prepare(workspace, signals)?;
    }
    if selection.long {
        let status = signals.run(&mut optimised(workspace))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    let servers = Servers::start_for_tests(&workspace.places(), signals)?;
    for mut command in commands(workspace, selection, workspace.has_subcommand("nextest")) {
        let status = signals.run(servers.give_to(&mut command))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    if fuzzes {
        return fuzz::run(workspace, signals);
    }
    Ok(ExitCode::SUCCESS)
}

/// What long tests put under more load than a build for debugging can bear.
fn optimised(workspace: &Workspace) -> Command {
    workspace.cargo(["build", "--release", "--package", "ingress"])
}

/// The runners to call, one after the other.
///
/// Doc tests come first, so that the last word is the count of the tests proper. `cargo test`
/// runs them by itself, nextest cannot.
pub fn commands(workspace: &Workspace, selection: &Selection, has_nextest: bool) -> Vec<Command> {
    let words = |words: &'static str| words.split(' ').collect::<Vec<_>>();
    // With --workspace nextest would not narrow its choice to a package.
    let mut runners = if has_nextest && !packages(&selection.args).is_empty() {
        vec![words("nextest run")]
    } else if has_nextest {
        vec![words("nextest run --workspace")]
    } else {
        vec![words("test --workspace")]
    };
    if selection.args.is_empty() && has_nextest {
        runners.insert(0, words("test --doc --workspace"));
    }
    if packages(&selection.args).contains(&STORIES) {
        runners.insert(0, words("build --workspace --bins"));
    }
    let mut commands: Vec<_> = runners.into_iter().map(|words| workspace.cargo(words)).collect();
    if let Some(last) = commands.last_mut() {
        if !has_nextest && !selection.args.is_empty() {
            last.arg("--");
        }
        last.args(&selection.args);
    }
    if selection.long {
        for command in &mut commands {
            command.env("SYNCLINE_LONG_TESTS", "1");
            command.env("SYNCLINE_OPTIMISED", workspace.places().target.join("release"));
        }
    }
    commands
}

/// The packages that are named, in any of the ways that cargo knows.
fn packages(args: &[String]) -> Vec<&str> {
    let mut packages = Vec::new();
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "-p" | "--package" => packages.extend(args.next()),
            _ => packages
                .extend(["--package=", "-p=", "-p"].iter().find_map(|flag| arg.strip_prefix(flag))),
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(args: &[&str], has_nextest: bool) -> Vec<String> {
        let selection =
            Selection { args: args.iter().map(ToString::to_string).collect(), long: false };
        let line = |command: &Command| {
            command.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        commands(&Workspace::current().unwrap(), &selection, has_nextest).iter().map(line).collect()
    }

    #[test]
    fn everything_is_run_by_nextest_after_the_doc_tests() {
        assert_eq!(lines(&[], true), ["test --doc --workspace", "nextest run --workspace"]);
        assert_eq!(lines(&[], false), ["test --workspace"]);
    }

    #[test]
    fn arguments_reach_the_runner_and_leave_the_doc_tests_out() {
        assert_eq!(lines(&["claim"], true), ["nextest run --workspace claim"]);
        assert_eq!(lines(&["-p", "common"], true), ["nextest run -p common"]);
        assert_eq!(lines(&["claim"], false), ["test --workspace -- claim"]);
    }

    #[test]
    fn the_programs_that_stories_start_are_those_of_today() {
        for named in [&["-p", "tests"][..], &["-ptests"], &["--package=tests", "leads"]] {
            let run = format!("nextest run {}", named.join(" "));
            assert_eq!(lines(named, true), ["build --workspace --bins".to_owned(), run]);
        }
    }
}
