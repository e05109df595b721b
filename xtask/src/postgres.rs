//! A private Postgres with the database `syncline`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::{account::Account, secret, server::Server, setup::Programs, signals::Signals};

/// The role, a superuser, and its database.
const NAME: &str = "syncline";

/// What becomes of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Goes with the run: no time is spent on surviving a crash.
    Discard,
    /// Is there again at the next start.
    Keep,
}

/// Starts it with its files in `folder`; returns its address with the password in it.
pub fn start(
    programs: &Programs,
    folder: &Path,
    data: Data,
    signals: &Signals,
) -> anyhow::Result<(Server, String)> {
    let files = programs.account.create_folders(folder)?;
    let cluster = Cluster { programs, folder, directory: files.join("data"), files };
    let password = cluster.password()?;
    if !cluster.directory.exists() {
        cluster.create(signals)?;
    }
    cluster.check_version()?;
    let (server, port) = Server::start(
        folder,
        signals,
        |port| Ok(cluster.server(port, data)),
        |port| cluster.is_ready(port),
    )?;
    Ok((server, format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}")))
}

/// Runs the SQL in `file` in one transaction; stops at the first error.
pub fn run_file(
    programs: &Programs,
    url: &str,
    file: &Path,
    signals: &Signals,
) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let (address, password) = apart(url).context("the address has no password")?;
    let psql = programs.postgres.join("psql");
    let mut psql = Account::Ourselves.command(&psql, Path::new("/"));
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"]).arg(file);
    // The same mark by which sqlx runs a migration outside a transaction.
    if !text.starts_with("-- no-transaction") {
        psql.arg("--single-transaction");
    }
    psql.arg("--dbname").arg(address);
    psql.env("PGPASSWORD", password).env("PGOPTIONS", "--client-min-messages=warning");
    signals.run_tool(&mut psql).with_context(|| file.display().to_string())
}

/// The address without its password, which everyone could read on a command line, and that.
fn apart(url: &str) -> Option<(String, &str)> {
    let (user, rest) = url.split_once('@')?;
    let (user, password) = user.rsplit_once(':')?;
    Some((format!("{user}@{rest}"), password))
}

/// A data directory and the programs for it.
struct Cluster<'a> {
    programs: &'a Programs,
    folder: &'a Path,
    files: PathBuf,
    directory: PathBuf,
}

impl Cluster<'_> {
    /// The password of the role, made up once for a data directory.
    fn password(&self) -> anyhow::Result<String> {
        let file = self.folder.join("password");
        if let Ok(password) = fs::read_to_string(&file)
            && self.directory.exists()
        {
            return Ok(password);
        }
        let password = secret::random()?;
        self.programs.account.write_secret(&file, &password)?;
        Ok(password)
    }

    /// Made beside its place and then renamed, so that half a data directory is never used.
    fn create(&self, signals: &Signals) -> anyhow::Result<()> {
        let unfinished = self.files.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let mut initdb = self.command("initdb");
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--no-locale", "--auth=scram-sha-256"])
            .arg(format!("--username={NAME}"))
            .arg("--pwfile")
            .arg(self.folder.join("password"))
            .arg("--pgdata")
            .arg(&unfinished)
            .stdout(Stdio::null());
        signals.run_tool(&mut initdb)?;
        self.create_database(&unfinished)?;
        fs::rename(&unfinished, &self.directory)?;
        Ok(())
    }

    /// With the server program alone and before any server runs (`postgres --single`).
    fn create_database(&self, directory: &Path) -> anyhow::Result<()> {
        let mut single = self
            .command("postgres")
            .args(["--single", "-c", "fsync=off", "-D"])
            .arg(directory)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let statement = format!("create database {NAME}\n");
        if let Some(mut input) = single.stdin.take() {
            input.write_all(statement.as_bytes())?;
        }
        let output = single.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        // In this mode a failed statement is reported, and the exit status is 0 all the same.
        anyhow::ensure!(
            output.status.success() && !errors.contains("ERROR:"),
            "cannot create the database: {errors}"
        );
        Ok(())
    }

    /// A data directory belongs to one major version.
    fn check_version(&self) -> anyhow::Result<()> {
        let file = self.directory.join("PG_VERSION");
        let made_with =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let server = crate::version::Version::of(
            &self.programs.postgres.join("postgres"),
            &self.programs.account,
        );
        anyhow::ensure!(
            server.is_some_and(|version| version.0.to_string() == made_with.trim()),
            "the data in {} is of Postgres {}, which is not the version found now; \
             remove that folder to start anew",
            self.directory.display(),
            made_with.trim(),
        );
        Ok(())
    }

    fn server(&self, port: u16, data: Data) -> Command {
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.directory).arg("-p").arg(port.to_string());
        command.arg("-c").arg(format!("unix_socket_directories={}", self.files.display()));
        let mut settings = vec![
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            // Small enough for two runs side by side, also in a container.
            "shared_buffers=64MB",
            "timezone=UTC",
            "log_timezone=UTC",
        ];
        if data == Data::Discard {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
        }
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
    }

    /// Postgres itself writes down which port it listens on and when it is ready (`pidfile.h`):
    /// line 4 the port, line 8 the status. What a crash left there has another port.
    fn is_ready(&self, port: u16) -> bool {
        let file = self.directory.join("postmaster.pid");
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = |n: usize| text.lines().nth(n - 1).map(str::trim);
        line(4) == Some(port.to_string().as_str()) && line(8) == Some("ready")
    }

    fn command(&self, program: &str) -> Command {
        self.programs.account.command(&self.programs.postgres.join(program), &self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_kept_off_the_command_line() {
        let (address, password) = apart("postgres://role:secret@127.0.0.1:5/base").unwrap();
        assert_eq!(address, "postgres://role@127.0.0.1:5/base");
        assert_eq!(password, "secret");
    }
}
