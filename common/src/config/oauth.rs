//! How a connection's tokens are renewed.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::secret;

/// The key `oauth` of a connection's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthConfig {
    /// What the platform calls our application.
    pub client_id: String,
    /// The file that holds the application's secret.
    pub client_secret_file: Option<PathBuf>,
    /// The variable that holds it.
    pub client_secret_env: Option<String>,
    /// The file that holds the first refresh token. Later ones are kept in Postgres; another one in
    /// this file begins anew.
    pub refresh_token_file: Option<PathBuf>,
    /// The variable that holds it.
    pub refresh_token_env: Option<String>,
}

/// What renews a connection's tokens.
#[derive(Clone, Debug)]
pub struct OAuthSecrets {
    /// What the platform calls our application.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: SecretString,
    /// The first refresh token.
    pub refresh_token: SecretString,
}

impl OAuthConfig {
    /// `None` when a secret cannot be read, which is noted.
    pub(super) fn secrets(&self, key: &str, problems: &mut Problems) -> Option<OAuthSecrets> {
        let client_secret = secret::read(
            &format!("{key}.client_secret"),
            self.client_secret_file.as_deref(),
            self.client_secret_env.as_deref(),
            problems,
        );
        let refresh_token = secret::read(
            &format!("{key}.refresh_token"),
            self.refresh_token_file.as_deref(),
            self.refresh_token_env.as_deref(),
            problems,
        );
        Some(OAuthSecrets {
            client_id: self.client_id.clone(),
            client_secret: client_secret?,
            refresh_token: refresh_token?,
        })
    }

    pub(super) fn check(&self, key: &str, problems: &mut Problems) {
        problems.require(
            !self.client_id.is_empty(),
            &format!("{key}.client_id"),
            "is empty: set it to what the platform calls the application",
        );
        for (name, file, variable) in [
            ("client_secret", self.client_secret_file.as_ref(), self.client_secret_env.as_ref()),
            ("refresh_token", self.refresh_token_file.as_ref(), self.refresh_token_env.as_ref()),
        ] {
            let key = format!("{key}.{name}");
            secret::check_sources(&key, file, variable, problems);
            problems.require(
                file.is_some() || variable.is_some(),
                &format!("{key}_file"),
                &format!(
                    "is not set: name the file that holds it, or the variable with {name}_env"
                ),
            );
        }
    }
}
