//! What every adapter has to hold, and the means to see it: a small HTTP server and permits that
//! are counted.

mod bans;
pub(super) mod contract;
pub(super) mod fake;
mod http;
pub(super) mod noise;
pub(super) mod samples;
mod senders;

use secrecy::SecretString;
use serde_json::value::RawValue;
use url::Url;

use crate::platform::{Account, Api, ApiSettings, Platform, RecordKind, Snapshot, named};

pub(super) const TOKEN: &str = "pk_very_secret";
pub(super) const SECRET: &str = "a-webhook-secret-of-ours";

pub(super) fn api() -> Api {
    Api::new(ApiSettings { max_body_bytes: 64 * 1024, ..ApiSettings::default() }).unwrap()
}

pub(super) fn account(platform: &dyn Platform, base_url: &Url) -> Account {
    Account {
        lane: format!("{}/main", platform.name()).parse().unwrap(),
        base_url: base_url.clone(),
        account: "700100200300".to_owned(),
        token: SecretString::from(TOKEN).into(),
        webhook_secret: Some(SecretString::from(SECRET)),
        consistency: platform.consistency(),
    }
}

/// An account whose API is never called.
pub(super) fn offline(platform: &dyn Platform) -> Account {
    account(platform, &"http://127.0.0.1:9".parse().unwrap())
}

pub(super) fn kind(platform: &str, record: &str) -> &'static RecordKind {
    named(platform).unwrap().records().iter().find(|kind| kind.name == record).unwrap()
}

pub(super) fn snapshot(kind: &RecordKind, payload: &str) -> Snapshot {
    let payload: &RawValue = serde_json::from_str(payload).unwrap();
    kind.snapshot("1".into(), payload, None).unwrap()
}
