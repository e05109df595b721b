//! One account on a platform, as the adapters see it.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::ids::Lane;
use crate::platform::Token;

/// One customer's account: where it is and what opens it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its lane.
    pub lane: Lane,
    /// Where the API lives, without a trailing slash. From the platform or the configuration,
    /// never from a webhook or an answer.
    pub base_url: Url,
    /// What the platform calls the account (Eventbrite: the organization's id; Discord: the
    /// application's id; Klaviyo and Patreon: may be empty).
    pub account: String,
    /// API key or access token.
    pub token: Token,
    /// What the platform signs its webhooks with, where it does; or what that is checked with
    /// (Discord: the application's public key in hex).
    pub webhook_secret: Option<SecretString>,
    /// How far its reads may be behind.
    pub consistency: Consistency,
}

/// How far behind a write a platform's reads may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// After a webhook led to a look, look again after each of these times; empty where reads are
    /// consistent. The second and later ones only when the look before saw nothing new.
    pub confirm_after: Vec<Duration>,
    /// A record that is missing within this time of the notice that named it is too young to judge.
    pub young: Duration,
}
