//! Secrets: from files and from the environment, never from the configuration itself.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serializer;

use super::error::Problems;
use super::oauth::OAuthSecrets;

/// A secret that is longer is not one.
const LONGEST_BYTES: usize = 64 * 1024;

/// A key of an HMAC that is shorter than this could be found by trying, in characters.
const SHORTEST_KEY: usize = 16;

/// What is said of a key that is too short.
pub(super) const TOO_SHORT: &str =
    "must be at least 16 characters: make one with openssl rand -hex 32";

/// What opens an account and proves its webhooks.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// API key or access token; `None` only where `oauth` gets one.
    pub token: Option<SecretString>,
    /// What renews the token, where it does not last.
    pub oauth: Option<OAuthSecrets>,
    /// What the platform signs its webhooks with; `None` where none is configured.
    pub webhook_secret: Option<SecretString>,
    /// What a bridge signs its notices with; at least 16 characters. `None` where none is
    /// configured: then the connection takes no notices.
    pub notice_secret: Option<SecretString>,
    /// The unguessable last part of the webhook's address; at least 24 of `A-Za-z0-9_-`. `None`
    /// where none is configured: then the connection takes no webhooks.
    pub endpoint_id: Option<SecretString>,
}

/// Reads the secret `key` from the file or the variable that stands for it.
///
/// `None` where neither is configured or where it could not be read; the latter is noted.
pub(super) fn read(
    key: &str,
    file: Option<&Path>,
    variable: Option<&str>,
    problems: &mut Problems,
) -> Option<SecretString> {
    match (file, variable) {
        (Some(path), _) => read_file(&format!("{key}_file"), path, problems),
        (None, Some(name)) => match env::var(name) {
            Ok(text) if !text.is_empty() => Some(text.into()),
            Ok(_) | Err(env::VarError::NotPresent) => {
                problems.add(format!("{key}_env"), format!("{name} is not set: export it"));
                None
            }
            Err(env::VarError::NotUnicode(_)) => {
                problems.add(format!("{key}_env"), format!("{name} is not UTF-8: set it anew"));
                None
            }
        },
        (None, None) => None,
    }
}

/// Reads a secret from a file of its own; one newline at its end does not belong to it.
pub(super) fn read_file(key: &str, path: &Path, problems: &mut Problems) -> Option<SecretString> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => SecretString::from(text),
        Err(error) => {
            problems.add(key, format!("{shown} cannot be read ({error}): check path and owner"));
            return None;
        }
    };
    let trimmed = text.expose_secret();
    let trimmed = trimmed.strip_suffix('\n').unwrap_or(trimmed);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    if trimmed.is_empty() || trimmed.len() > LONGEST_BYTES {
        problems.add(key, format!("{shown} is empty or longer than {LONGEST_BYTES} bytes"));
        return None;
    }
    warn_when_open(path);
    Some(trimmed.into())
}

/// Whether it could be found by trying.
pub(super) fn is_short(key: &SecretString) -> bool {
    key.expose_secret().chars().count() < SHORTEST_KEY
}

#[cfg(unix)]
fn warn_when_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let everybody_reads = 0o004;
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & everybody_reads != 0) {
        tracing::warn!(path = %path.display(), "everybody may read this secret: chmod o-r");
    }
}

#[cfg(not(unix))]
fn warn_when_open(_: &Path) {}

/// Either of the two names of a secret's source, or neither; both contradict each other.
pub(super) fn check_sources(
    key: &str,
    file: Option<&PathBuf>,
    variable: Option<&String>,
    problems: &mut Problems,
) {
    if file.is_some() && variable.is_some() {
        problems.add(format!("{key}_file"), format!("{key}_env is set too: keep one of them"));
    }
}

/// Writes nothing in a secret's place.
pub(super) fn hidden<S: Serializer>(_: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str("")
}
