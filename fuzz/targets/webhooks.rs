//! Any request to the ingress, on every platform: it is refused, or names records that the platform
//! has, each once.

#![no_main]

use std::collections::HashSet;

use arbitrary::Arbitrary;
use common::platform::{self, Account, Platform, WebhookRequest};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use md5::Md5;
use secrecy::SecretString;
use sha2::Sha256;

const SECRET: &str = "a secret that both sides know";
const DISCORD_KEY: [u8; 32] = [7; 32];

/// What may matter among the headers, so that the fuzzer need not find the names.
const NAMES: [&str; 9] = [
    "klaviyo-signature",
    "klaviyo-timestamp",
    "klaviyo-webhook-id",
    "x-eventbrite-event",
    "x-eventbrite-delivery",
    "x-patreon-event",
    "x-patreon-signature",
    "x-signature-ed25519",
    "x-signature-timestamp",
];

#[derive(Arbitrary, Debug)]
struct Request<'a> {
    headers: Vec<(u8, &'a [u8])>,
    body: &'a [u8],
}

fuzz_target!(|request: Request<'_>| {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers.iter().take(16) {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for &platform in platform::all() {
        receive(platform, &headers, request.body);
    }
    // What is behind the signature is only seen with the right one.
    let mut as_patreon = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).expect("any length");
    as_patreon.update(request.body);
    let mut signed = headers.clone();
    let signature = hex::encode(as_patreon.finalize().into_bytes());
    signed.insert(NAMES[6], signature.parse().expect("hex"));
    signed.entry(NAMES[5]).or_insert(HeaderValue::from_static("members:update"));
    receive(platform::named("patreon").expect("it is there"), &signed, request.body);

    let message = [b"1795209245", request.body].concat();
    let signature = SigningKey::from_bytes(&DISCORD_KEY).sign(&message);
    let mut signed = headers.clone();
    signed.insert(NAMES[7], hex::encode(signature.to_bytes()).parse().expect("hex"));
    signed.insert(NAMES[8], HeaderValue::from_static("1795209245"));
    receive(platform::named("discord").expect("it is there"), &signed, request.body);

    let mut signed = headers.clone();
    let time = headers.get(NAMES[1]).map_or(&b"now"[..], HeaderValue::as_bytes);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(request.body);
    mac.update(time);
    let signature = hex::encode(mac.finalize().into_bytes());
    signed.insert(NAMES[0], signature.parse().expect("hex"));
    signed.insert(NAMES[1], HeaderValue::from_bytes(time).expect("it was one"));
    signed.entry(NAMES[2]).or_insert(HeaderValue::from_static("W"));
    let klaviyo = platform::named("klaviyo").expect("it is there");
    receive(klaviyo, &signed, request.body);
});

fn receive(platform: &dyn Platform, headers: &HeaderMap, body: &[u8]) {
    let key = || hex::encode(SigningKey::from_bytes(&DISCORD_KEY).verifying_key().to_bytes());
    let secret = if platform.name() == "discord" { key() } else { SECRET.to_owned() };
    let account = Account {
        lane: format!("{}/fuzzed", platform.name()).parse().expect("a lane"),
        base_url: platform.base_url().parse().expect("a URL"),
        account: String::new(),
        token: SecretString::default().into(),
        webhook_secret: Some(secret.into()),
        consistency: platform.consistency(),
    };
    let Ok(notices) = platform.receive(&account, &WebhookRequest { headers, body }) else { return };
    for notice in &notices {
        let known = platform.records().iter().any(|kind| kind.name == notice.record_type.as_str());
        assert!(known, "{notice:?}");
        let id = notice.external_id.as_str();
        assert!(!id.is_empty() && id.len() <= 256 && !id.contains(char::is_whitespace), "{id:?}");
    }
    let once: HashSet<_> = notices.iter().collect();
    assert_eq!(once.len(), notices.len(), "each once");
}
