//! The operator's command line.

mod add;
mod alerts;
mod answer;
mod check;
mod check_config;
mod connections;
mod dead_letters;
mod depths;
mod drift;
mod exclude_field;
mod explain;
mod hash;
mod hold;
mod migrate;
mod named;
mod plan;
mod probe;
mod repair;
mod roles;
mod rotate_key;
mod status;
mod stores;
mod sync;
mod table;
mod verify_webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::config::Config;
use common::lifecycle::run_main;
use common::telemetry;

use crate::answer::Answer;

/// What is logged: warnings about settings, and panics. All else is an answer or an error.
const LOG_FILTER: &str = "off,common::config=warn,common::lifecycle=error";

/// Looks after a fleet that mirrors records from other people's platforms.
///
/// Ends with 0 when all was done, with 1 when it was refused or failed, with 2 when it was called
/// wrongly.
#[derive(Parser)]
#[command(name = "syncline", version)]
struct Cli {
    /// Configuration file (TOML), laid over the defaults. Without it SYNCLINE_CONFIG names one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the tables in Postgres up to date; needs a connection that does not go through a
    /// pooling proxy.
    Migrate(migrate::Arguments),
    /// Print the SQL that makes a role with least rights for each process: for psql, as a user of
    /// Postgres who owns the tables and may create roles.
    Roles,
    /// Read the configuration and every secret it names, and say what would be run with.
    CheckConfig,
    /// How the mirror stands: connections, records, operations, bulk runs.
    Status(status::Arguments),
    /// What a person should know of and act on.
    Alerts(alerts::Arguments),
    /// The accounts that are mirrored.
    #[command(subcommand)]
    Connections(connections::Command),
    /// Make a key for `credentials.key_file`.
    NewKey,
    /// Seal all secrets in Postgres under the first key of `credentials.key_file`.
    RotateKey(rotate_key::Arguments),
    /// Start a bulk run: read a record type from its platform.
    Sync(sync::Arguments),
    /// Look at single records now, before all bulk work.
    Check(check::Arguments),
    /// Hold all work of a connection, until `resume`, also over a loss of Redis.
    Pause(hold::Arguments),
    /// End a pause.
    Resume(hold::Arguments),
    /// How much waits for each connection, and what holds it.
    Depths(depths::Arguments),
    /// Why a record is not fresh: where its job stands, what holds it, when it can run at the
    /// earliest, and what Postgres knows of it.
    Explain(explain::Arguments),
    /// How wrong the mirror is, by random samples; which fields do not settle; the latest drift.
    Drift(drift::Arguments),
    /// Take a field out of the comparison: it is mirrored and does not count.
    ExcludeField(exclude_field::Arguments),
    /// Jobs that were given up.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// What a budget of looks can do for records with given habits, or what a freshness costs.
    Plan(plan::Arguments),
    /// Canonical form and hash of a record on standard input, as the mirror compares it.
    Hash(hash::Arguments),
    /// Whether a webhook on standard input is the platform's own, and which records it names.
    ///
    /// Ends with 0 when it would be taken, with 1 when its signature is refused, with 2 when the
    /// signature is right and the body not understood.
    VerifyWebhook(verify_webhook::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut code = ExitCode::FAILURE;
    // When it fails, what runs the process has failed and has said so.
    let _started = run_main(async {
        let telemetry = telemetry::start(telemetry::Settings {
            service_name: "syncline",
            service_namespace: "syncline",
            otlp_endpoint: None,
            json_logs: false,
            log_filter: LOG_FILTER,
        })?;
        code = match cli.command.run(cli.config).await {
            Ok(answer) => answer.give(),
            Err(error) => answer::failed(&error),
        };
        telemetry.shutdown().await;
        Ok(())
    });
    code
}

impl Command {
    async fn run(self, file: Option<PathBuf>) -> anyhow::Result<Answer> {
        // Some of them need no settings.
        match self {
            Self::NewKey => return rotate_key::new_key(),
            Self::Roles => return Ok(roles::run()),
            Self::Plan(arguments) if arguments.needs_no_settings() => {
                return plan::run(None, &arguments).await;
            }
            Self::Hash(arguments) => return hash::run(&arguments),
            Self::VerifyWebhook(arguments) => return verify_webhook::run(&arguments),
            _ => {}
        }
        let config = Config::load(file.as_deref())?;
        match self {
            Self::Migrate(arguments) => migrate::run(&config, &arguments).await,
            Self::CheckConfig => check_config::run(&config),
            Self::Status(arguments) => status::run(&config, &arguments).await,
            Self::Alerts(arguments) => alerts::run(&config, &arguments).await,
            Self::Connections(command) => connections::run(&config, command).await,
            Self::NewKey => rotate_key::new_key(),
            Self::Roles => Ok(roles::run()),
            Self::RotateKey(arguments) => rotate_key::run(&config, &arguments).await,
            Self::Sync(arguments) => sync::run(&config, &arguments).await,
            Self::Check(arguments) => check::run(&config, &arguments).await,
            Self::Pause(arguments) => hold::pause(&config, &arguments).await,
            Self::Resume(arguments) => hold::resume(&config, &arguments).await,
            Self::Depths(arguments) => depths::run(&config, &arguments).await,
            Self::Explain(arguments) => explain::run(&config, &arguments).await,
            Self::DeadLetters(command) => dead_letters::run(&config, command).await,
            Self::Plan(arguments) => plan::run(Some(&config), &arguments).await,
            Self::Drift(arguments) => drift::run(&config, &arguments).await,
            Self::ExcludeField(arguments) => exclude_field::run(&config, &arguments).await,
            Self::Hash(arguments) => hash::run(&arguments),
            Self::VerifyWebhook(arguments) => verify_webhook::run(&arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_called_as_documented() {
        for line in [
            "syncline migrate",
            "syncline --config a.toml check-config",
            "syncline status --json --config a.toml",
            "syncline alerts",
            "syncline alerts --all --limit 5 --json",
            "syncline connections list --json",
            "syncline connections park klaviyo/main --reason maintenance",
            "syncline connections unpark klaviyo/main",
            "syncline connections add patreon/main --account 7 --token-file - --settings s.toml",
            "syncline connections add k/m --refresh-token-file f --client-id i --client-secret-file s",
            "syncline connections check",
            "syncline connections check klaviyo/main --json",
            "syncline connections repair klaviyo/main --dry-run",
            "syncline connections remove klaviyo/main",
            "syncline new-key",
            "syncline roles",
            "syncline migrate --users /run/secrets/syncline",
            "syncline rotate-key --dry-run",
            "syncline sync --connection klaviyo/main --record-type profile",
            "syncline sync --connection klaviyo/main --record-type profile --full",
            "syncline check --connection eventbrite/main --record-type attendee 88/1 88/2",
            "syncline pause --connection klaviyo/main",
            "syncline resume --connection klaviyo/main",
            "syncline depths --connection klaviyo/main --json",
            "syncline explain klaviyo/main profile:01J",
            "syncline explain eventbrite/main attendee 88/1 --json",
            "syncline dead-letters list --connection klaviyo/main --limit 5 --json",
            "syncline dead-letters show 7 --json",
            "syncline dead-letters replay --record-type profile --error timeout",
            "syncline dead-letters replay 1 2 3 --dry-run",
            "syncline dead-letters replay --all --connection klaviyo/main",
            "syncline dead-letters discard --connection klaviyo/main --dry-run",
            "syncline plan --records r.json --budget 1000/hour --json",
            "syncline plan --records - --target 0.99",
            "syncline plan --connection klaviyo/main --budget 500/minute",
            "syncline drift --limit 5 --json",
            "syncline exclude-field klaviyo/main profile /attributes/last_seen --undo",
            "syncline hash --platform klaviyo --record-type profile --json",
            "syncline verify-webhook --platform klaviyo --secret-file s --header a:b --header c:d",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused_before_anything_is_done() {
        for (line, kind) in [
            ("syncline connections add klaviyo/main", ErrorKind::MissingRequiredArgument),
            ("syncline connections add k/m --token secret", ErrorKind::UnknownArgument),
            (
                "syncline connections add k/m --refresh-token-file f --client-id i",
                ErrorKind::MissingRequiredArgument,
            ),
            ("syncline sync --connection klaviyo/main", ErrorKind::MissingRequiredArgument),
            (
                "syncline sync --connection k/m --record-type p --full --changes",
                ErrorKind::ArgumentConflict,
            ),
            ("syncline sync --connection Klaviyo --record-type p", ErrorKind::ValueValidation),
            ("syncline check --connection k/m --record-type p", ErrorKind::MissingRequiredArgument),
            ("syncline dead-letters replay", ErrorKind::MissingRequiredArgument),
            ("syncline dead-letters discard", ErrorKind::MissingRequiredArgument),
            ("syncline dead-letters replay 1 --all", ErrorKind::ArgumentConflict),
            ("syncline dead-letters list --limit 0", ErrorKind::ValueValidation),
            ("syncline plan --records r.json", ErrorKind::MissingRequiredArgument),
            ("syncline plan --budget 1/s", ErrorKind::MissingRequiredArgument),
            (
                "syncline plan --records r --connection k/m --budget 1/s",
                ErrorKind::ArgumentConflict,
            ),
            ("syncline exclude-field k/m profile", ErrorKind::MissingRequiredArgument),
            ("syncline plan --records r --budget 1/s --target 0.9", ErrorKind::ArgumentConflict),
            ("syncline plan --records r --target 1.5", ErrorKind::ValueValidation),
            ("syncline plan --records r --budget 1000", ErrorKind::ValueValidation),
            ("syncline hash --platform nowhere --record-type p", ErrorKind::ValueValidation),
            ("syncline verify-webhook --platform klaviyo --header x", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse(line).err(), Some(kind), "{line}");
        }
    }
}
