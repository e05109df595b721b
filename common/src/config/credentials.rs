//! The keys that secrets in Postgres are sealed under.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{ConfigError, Problems};
use super::secret;
use crate::credentials::Keyring;

/// The section `credentials`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsConfig {
    /// The file that holds the keys; empty for none.
    pub key_file: PathBuf,
    /// The variable that holds them; empty for none.
    pub key_env: String,
}

impl CredentialsConfig {
    /// Reads the keys; `None` where none are configured.
    ///
    /// # Errors
    ///
    /// When they are configured and cannot be read, or are no keys. Never tells any of them.
    pub fn keys(&self) -> Result<Option<Keyring>, ConfigError> {
        let mut problems = Problems::default();
        let file = Some(self.key_file.as_path()).filter(|path| *path != Path::new(""));
        let variable = Some(self.key_env.as_str()).filter(|name| !name.is_empty());
        let text = secret::read("credentials.key", file, variable, &mut problems);
        let keys = text.map(|text| Keyring::parse(&text)).transpose().unwrap_or_else(|bad| {
            let source =
                if file.is_some() { "credentials.key_file" } else { "credentials.key_env" };
            problems.add(source, bad.to_string());
            None
        });
        if problems.is_empty() { Ok(keys) } else { Err(ConfigError::Invalid(problems)) }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.require(
            self.key_file == Path::new("") || self.key_env.is_empty(),
            "credentials.key_file",
            "credentials.key_env is set too: keep one of them",
        );
    }
}
