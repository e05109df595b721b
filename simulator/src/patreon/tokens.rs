//! Access tokens that run out, and the refresh tokens that are good for one refresh each.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::form_urlencoded;

use super::error_for;
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::chance::Chance;
use crate::config::PatreonConfig;

/// Access tokens that are remembered; older ones count as run out.
const MOST: usize = 1_000;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
const SCOPES: [&str; 6] = [
    "campaigns",
    "campaigns.members",
    "campaigns.members[email]",
    "campaigns.members.address",
    "identity",
    "w:campaigns.webhook",
];

/// The tokens of one creator. Not `Debug` in any way that shows one.
pub(crate) struct Tokens {
    chance: Chance,
    lifetime: Duration,
    /// Access tokens, and until when they are good.
    access: Vec<(String, Instant)>,
    /// The one refresh token that has not been used.
    refresh: String,
    refreshes: u64,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("refreshes", &self.refreshes).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(config: &PatreonConfig, chance: Chance) -> Self {
        let lifetime = Duration::from_secs(config.expires_in);
        Self {
            chance,
            lifetime,
            access: vec![(config.access_token.0.clone(), Instant::now() + lifetime)],
            refresh: config.refresh_token.0.clone(),
            refreshes: 0,
        }
    }

    /// 401 unless the call carries an access token that is still good.
    pub(super) fn check(&self, call: &Call) -> Result<(), Answer> {
        let given = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let now = Instant::now();
        let good =
            |given: &str| self.access.iter().any(|(one, until)| one == given && now < *until);
        if given.is_some_and(good) { Ok(()) } else { Err(error_for(StatusCode::UNAUTHORIZED)) }
    }

    /// All access tokens run out now; the refresh token stays good.
    pub(crate) fn expire(&mut self) {
        self.access.clear();
    }

    /// How often the refresh token was used.
    pub(crate) fn refreshes(&self) -> u64 {
        self.refreshes
    }

    /// Puts new tokens in the old ones' place; `None` when the refresh token is not the last one.
    fn rotate(&mut self, given: &str) -> Option<(String, String)> {
        if given != self.refresh {
            return None;
        }
        let mut token = || self.chance.text(LETTERS, 43);
        let (access, refresh) = (token(), token());
        if self.access.len() == MOST {
            self.access.remove(0);
        }
        self.access.push((access.clone(), Instant::now() + self.lifetime));
        self.refresh.clone_from(&refresh);
        self.refreshes += 1;
        Some((access, refresh))
    }
}

/// `POST /api/oauth2/token` with `grant_type=refresh_token`, as a form or in the query.
pub(super) fn refresh(account: &Account, call: &Call) -> Result<Answer, Answer> {
    if call.method != Method::POST {
        return Err(error_for(StatusCode::METHOD_NOT_ALLOWED));
    }
    let form: Vec<(String, String)> =
        form_urlencoded::parse(&call.body).into_owned().chain(call.query.iter().cloned()).collect();
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.unwrap_or_default()
    };
    let config = &account.config.patreon;
    if field("grant_type") != "refresh_token" {
        return Err(refused(StatusCode::BAD_REQUEST, "unsupported_grant_type"));
    }
    if field("client_id") != config.client_id || field("client_secret") != config.client_secret.0 {
        return Err(refused(StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    let (access, refresh) = account
        .tokens
        .lock()
        .rotate(field("refresh_token"))
        .ok_or_else(|| refused(StatusCode::BAD_REQUEST, "invalid_grant"))?;
    let missing = &account.switches.lock().missing_scopes;
    let scopes: Vec<&str> =
        SCOPES.into_iter().filter(|scope| !missing.iter().any(|one| one == scope)).collect();
    Ok(Answer::ok(json!({
        "access_token": access,
        "refresh_token": refresh,
        "expires_in": config.expires_in,
        "scope": scopes.join(" "),
        "token_type": "Bearer",
        "version": "0.0.1",
    })))
}

/// The form of OAuth's errors, which is not that of the API.
fn refused(status: StatusCode, error: &str) -> Answer {
    let body: Value = json!({ "error": error });
    Answer::error(status, body)
}
