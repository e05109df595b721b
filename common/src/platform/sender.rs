//! What sends a platform's webhooks to us: whether it does, and what is to be read when it did not.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::platform::PlatformError;

/// The address that a connection's webhooks come to.
#[derive(Clone)]
pub struct Endpoint {
    hash: [u8; 32],
    address: Option<SecretString>,
}

impl Endpoint {
    /// - `hash`: SHA-256 of the last part of its path, which is all that is known of it where the
    ///   connection was added.
    /// - `address`: all of it, as the platform has to call it; `None` where nobody told it.
    pub fn new(hash: [u8; 32], address: Option<SecretString>) -> Self {
        Self { hash, address }
    }

    /// Whether an address that a platform has leads here: whoever knows the last part of the path
    /// got it from us, whatever stands before it.
    pub fn is(&self, address: &str) -> bool {
        let path = address.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(last).into();
        hash == self.hash
    }

    /// All of it.
    pub fn address(&self) -> Option<&SecretString> {
        self.address.as_ref()
    }
}

impl fmt::Debug for Endpoint {
    /// Its last part is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address.is_some()).finish_non_exhaustive()
    }
}

/// Whether a platform sends its webhooks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderState {
    /// It does.
    Ok,
    /// It does, and its last deliveries failed.
    Failing,
    /// What would send them is there, and switched off.
    Off,
    /// There is nothing that would.
    Missing,
    /// The platform would not say.
    Unknown,
}

/// What sends a platform's webhooks to us, as the platform tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Whether it does.
    pub state: SenderState,
    /// The same for people: a sentence without its full stop.
    pub what: String,
    /// The platform's names of the webhooks that are switched off.
    pub off: Vec<String>,
}

/// What came of repairing a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// What there is to do was done. Whether it helped, the next look tells.
    Done,
    /// It was not, and why.
    NotDone(String),
}

/// What is to be read after a sender's outage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The kinds of records that webhooks tell of.
    pub kinds: &'static [&'static str],
    /// A sender that is switched off because its deliveries failed has lost what failed in so long
    /// before that.
    pub before: Duration,
}

/// One webhook to our address, in a platform's list.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    /// The platform's name of it.
    pub id: String,
    /// Whether it is switched on.
    pub sends: bool,
    /// Deliveries in a row that failed, where the platform counts them.
    pub failed: u32,
}

/// Pages of a list of webhooks that are read at the most.
pub(super) const MOST_PAGES: usize = 5;

impl Sender {
    /// - `ours`: every webhook to our address that is in the list.
    /// - `complete`: whether the list was read to its end.
    pub(super) fn of(ours: &[Hook], complete: bool) -> Self {
        let off: Vec<String> =
            ours.iter().filter(|hook| !hook.sends).map(|hook| hook.id.clone()).collect();
        let failed = ours.iter().map(|hook| hook.failed).max().unwrap_or_default();
        let (state, what) = match (ours.is_empty(), off.first(), failed) {
            (true, _, _) if complete => {
                (SenderState::Missing, "no webhook there leads to our address".to_owned())
            }
            (true, _, _) => (SenderState::Unknown, "there are too many webhooks".to_owned()),
            (false, Some(id), 0) => (SenderState::Off, format!("webhook {id} is switched off")),
            (false, Some(id), failed) => (
                SenderState::Off,
                format!("webhook {id} is switched off, after {failed} failed deliveries"),
            ),
            (false, None, 0) => (SenderState::Ok, "webhooks are sent".to_owned()),
            (false, None, failed) => {
                (SenderState::Failing, format!("the last {failed} deliveries failed"))
            }
        };
        Self { state, what, off }
    }

    /// The platform would not say, and why.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { state: SenderState::Unknown, what: why.into(), off: Vec::new() }
    }

    /// Whether webhooks are sent, as far as we were told.
    pub fn sends(&self) -> bool {
        matches!(self.state, SenderState::Ok | SenderState::Failing)
    }

    /// Whether they are not.
    pub fn is_broken(&self) -> bool {
        matches!(self.state, SenderState::Off | SenderState::Missing)
    }
}

impl Repair {
    /// What a request to repair it came to. A token that may not do this may well do all else.
    ///
    /// - `right`: which it lacks, in the platform's words.
    pub(super) fn of(asked: Result<(), PlatformError>, right: &str) -> Result<Self, PlatformError> {
        match asked {
            Ok(()) => Ok(Self::Done),
            Err(PlatformError::Unauthorized { reason }) => {
                Ok(Self::NotDone(format!("the token may not do that ({reason}): it needs {right}")))
            }
            Err(error) => Err(error),
        }
    }

    /// There is nothing that we could do, and why.
    pub(super) fn not_done(why: &str) -> Self {
        Self::NotDone(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(id: &str, sends: bool, failed: u32) -> Hook {
        Hook { id: id.to_owned(), sends, failed }
    }

    #[test]
    fn an_address_is_ours_by_its_last_part() {
        let ours = Endpoint::new(Sha256::digest("secret-part").into(), None);
        for address in [
            "https://a.example/webhooks/klaviyo/secret-part",
            "https://old.example:8443/webhooks/klaviyo/secret-part/",
            "https://a.example/x/secret-part?from=portal#top",
        ] {
            assert!(ours.is(address), "{address}");
        }
        for address in ["", "https://a.example/secret-part/x", "https://a.example/secret-par"] {
            assert!(!ours.is(address), "{address}");
        }
        let told = Endpoint::new([0; 32], Some("https://a.example/hunter2".into()));
        assert!(!format!("{told:?}").contains("hunter2"));
    }

    #[test]
    fn the_worst_of_our_webhooks_counts() {
        let state = |ours: &[Hook], complete| Sender::of(ours, complete).state;
        assert_eq!(state(&[], true), SenderState::Missing);
        assert_eq!(state(&[], false), SenderState::Unknown);
        assert_eq!(state(&[hook("a", true, 0)], false), SenderState::Ok);
        assert_eq!(state(&[hook("a", true, 0), hook("b", true, 2)], true), SenderState::Failing);
        let both = Sender::of(&[hook("a", true, 0), hook("b", false, 9)], true);
        assert_eq!((both.state, both.off), (SenderState::Off, vec!["b".to_owned()]));
        assert_eq!(both.what, "webhook b is switched off, after 9 failed deliveries");
    }
}
