//! `cargo xtask ci`: what has to hold before a change is taken.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cargo::{Workspace, exit_code},
    servers::Servers,
    signals::Signals,
    test::{self, Selection},
};

/// How a step ended.
enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed(ExitCode),
}

/// Runs every step in order, up to the first that fails.
pub fn run(workspace: &Workspace, signals: &Signals) -> anyhow::Result<ExitCode> {
    let mut ci = Ci { workspace, signals, done: Vec::new(), closing: Vec::new() };
    let before = ci.changes();
    let code = ci.all_steps(before.as_deref())?;
    ci.print_summary();
    Ok(code)
}

struct Ci<'a> {
    workspace: &'a Workspace,
    signals: &'a Signals,
    done: Vec<(&'static str, &'static str, Duration)>,
    /// What the test runners said at their end.
    closing: Vec<String>,
}

/// A step by its name.
type Step<'a> = (&'static str, fn(&mut Ci<'a>, Option<&str>) -> anyhow::Result<Outcome>);

impl<'a> Ci<'a> {
    fn all_steps(&mut self, before: Option<&str>) -> anyhow::Result<ExitCode> {
        // Clippy and cargo doc share what they need of the dependencies.
        let steps: [Step<'a>; 6] = [
            ("format", |ci, _| ci.cargo("fmt --all --check")),
            ("clippy", |ci, _| ci.cargo("clippy --workspace --all-targets -- -D warnings")),
            ("tests", |ci, _| ci.tests()),
            ("documentation", |ci, _| ci.documentation()),
            ("dependencies", |ci, _| ci.dependencies()),
            ("clean tree", |ci, before| ci.clean_tree(before)),
        ];
        for (name, step) in steps {
            eprintln!("\n==> {name}");
            let started = now();
            let outcome = step(self, before)?;
            let (word, end) = match outcome {
                Outcome::Passed => ("ok", None),
                Outcome::Skipped(why) => (why, None),
                Outcome::Failed(code) => ("FAILED", Some(code)),
            };
            self.done.push((name, word, started.elapsed()));
            if let Some(code) = end {
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn cargo(&self, words: &str) -> anyhow::Result<Outcome> {
        Ok(outcome(self.signals.run(&mut self.workspace.cargo(words.split(' ')))?))
    }

    fn tests(&mut self) -> anyhow::Result<Outcome> {
        let servers = Servers::start_for_tests(&self.workspace.places(), self.signals)?;
        let has_nextest = self.workspace.has_subcommand("nextest");
        for mut command in test::commands(self.workspace, &Selection::default(), has_nextest) {
            let status = self.listen(servers.give_to(&mut command))?;
            if !status.success() {
                return Ok(outcome(status));
            }
        }
        Ok(Outcome::Passed)
    }

    fn documentation(&self) -> anyhow::Result<Outcome> {
        let mut command = self.workspace.cargo(["doc", "--no-deps", "--workspace"]);
        Ok(outcome(self.signals.run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?))
    }

    fn dependencies(&self) -> anyhow::Result<Outcome> {
        if !self.workspace.has_subcommand("deny") {
            return Ok(Outcome::Skipped("SKIPPED: cargo-deny is not installed"));
        }
        self.cargo("deny check --hide-inclusion-graph licenses bans sources")
    }

    fn clean_tree(&self, before: Option<&str>) -> anyhow::Result<Outcome> {
        let (Some(before), Some(after)) = (before, self.changes()) else {
            return Ok(Outcome::Skipped("SKIPPED: no git, or no repository"));
        };
        if before == after {
            return Ok(Outcome::Passed);
        }
        io::stderr().write_all(format!("the run has changed the tree:\n{after}").as_bytes())?;
        Ok(Outcome::Failed(ExitCode::FAILURE))
    }

    /// What git sees as changed; `None` without git.
    fn changes(&self) -> Option<String> {
        let mut git = Command::new("git");
        git.args(["status", "--porcelain"]).current_dir(self.workspace.root());
        let output = git.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a test runner, showing its output and keeping its closing lines.
    fn listen(&mut self, command: &mut Command) -> anyhow::Result<ExitStatus> {
        let mut child =
            self.signals.start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let (sender, closing) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            let sender = sender.clone();
            thread::spawn(move || pass_on(output, io::stdout(), &sender));
        }
        if let Some(output) = child.stderr.take() {
            thread::spawn(move || pass_on(output, io::stderr(), &sender));
        }
        let status = self.signals.wait(child)?;
        // Until both outputs are closed; a process that a test forgot may hold them open.
        while let Ok(line) = closing.recv_timeout(Duration::from_secs(5)) {
            self.closing.push(line);
        }
        Ok(status)
    }

    fn print_summary(&self) {
        eprintln!();
        for (name, word, time) in &self.done {
            eprintln!("{name:<14} {:>7.1} s  {word}", time.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, _, time)| *time).sum();
        eprintln!("{:<14} {:>7.1} s", "total", total.as_secs_f64());
        for line in &self.closing {
            eprintln!("{line}");
        }
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    if status.success() { Outcome::Passed } else { Outcome::Failed(exit_code(status)) }
}

/// Copies line by line, and sends on the lines in which runners sum up.
fn pass_on(from: impl Read, mut to: impl Write, closing: &Sender<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // Nobody may be reading any more; the runner must not be held up by that.
        drop(to.write_all(&line));
        let text = String::from_utf8_lossy(&line);
        if is_closing_line(&text) {
            drop(closing.send(text.trim_end().to_owned()));
        }
        line.clear();
    }
}

/// Of nextest, or of `cargo test` where anything was tested.
fn is_closing_line(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Summary [")
        || (line.starts_with("test result: ") && !line.contains(" 0 passed; 0 failed; 0 ignored"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a build took is the machine's own time; there is no runtime to ask"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_passes_through_and_closing_lines_are_kept() {
        let text = "running 3 tests\n     Summary [   0.1s] 3 tests run: 3 passed, 0 skipped\n\
                    test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\nlast";
        let (sender, closing) = mpsc::channel();
        let mut copy = Vec::new();
        pass_on(text.as_bytes(), &mut copy, &sender);
        drop(sender);
        assert_eq!(String::from_utf8(copy).unwrap(), text);
        let lines: Vec<String> = closing.iter().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("3 tests run: 3 passed, 0 skipped"));
        assert!(lines[1].starts_with("test result: ok. 2 passed"));
    }
}
