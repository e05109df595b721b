//! What is wrong with a configuration, said so that one can mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("{} cannot be read: {source}; check the path and who may read it", path.display())]
    Unreadable {
        /// As named.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not TOML. The text itself is left out: it may hold a secret.
    #[error("{file} is not TOML: {what}")]
    Syntax {
        /// Its name.
        file: String,
        /// Line, column and reason.
        what: String,
    },
    /// Settings that are unknown, of the wrong kind, or contradict each other; all of them.
    #[error("{0}")]
    Invalid(Problems),
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its key: `worker.lease`.
    pub key: String,
    /// What it says; `None` for a secret, a table, and what is missing.
    pub value: Option<String>,
    /// The file or the variable that says so; `None` for what is missing.
    pub origin: Option<String>,
    /// What is wrong, and the remedy.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that is wrong, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Whether all is well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Notes that the setting `key` cannot be used.
    pub(super) fn add(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.0.push(Problem { key: key.into(), value: None, origin: None, what: what.into() });
    }

    /// Notes it unless `holds`.
    pub(super) fn require(&mut self, holds: bool, key: &str, what: &str) {
        if !holds {
            self.add(key, what);
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "the configuration has {} problem{plural}", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
