//! `hash` and `verify-webhook`, with the samples that the adapters are tested with.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::run::{Ended, syncline};

const PROFILE: &str = include_str!("../../../common/src/platform/klaviyo/samples/profile.json");
const KLAVIYO: &[u8] =
    include_bytes!("../../../common/src/platform/klaviyo/samples/webhook-subscribed.json");
const EVENTBRITE: &[u8] =
    include_bytes!("../../../common/src/platform/eventbrite/samples/webhook-attendee-updated.json");
const SECRET: &str = "an example webhook secret";
const TIME: &str = "Thu, 04 Jan 2024 18:05:25 GMT";

/// The record itself, without what it came wrapped in.
fn profile() -> Value {
    serde_json::from_str::<Value>(PROFILE).unwrap()["data"].clone()
}

fn hash(record: &Value) -> Value {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile", "--json"];
    syncline(&arguments, &[], record.to_string().as_bytes()).json()
}

/// Calls `verify-webhook` with a delivery of Klaviyo that was signed with `secret`.
fn verify(signed: &[u8], sent: &[u8], secret: &str) -> Ended {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed);
    mac.update(TIME.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let headers = [
        format!("Klaviyo-Signature: {signature}"),
        format!("Klaviyo-Timestamp: {TIME}"),
        "Klaviyo-Webhook-Id: 01JWEBHOOKEXAMPLE".to_owned(),
    ];
    let mut arguments = vec!["verify-webhook", "--platform", "klaviyo"];
    arguments.extend(["--secret-file", file.to_str().unwrap()]);
    for header in &headers {
        arguments.extend(["--header", header]);
    }
    let ended = syncline(&arguments, &[], sent);
    assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    ended
}

#[test]
fn the_hash_is_of_what_counts_in_whatever_order_it_came() {
    let mut record = profile();
    let first = hash(&record);
    assert_eq!(first["hash"].as_str().unwrap().len(), 32);
    assert!(first["canonical"].as_str().unwrap().starts_with(r#"{"attributes":{"#), "{first}");

    record["attributes"]["updated"] = json!("2030-01-01T00:00:00+00:00");
    assert_eq!(hash(&record), first, "nobody edited the profile");
    record["attributes"]["first_name"] = json!("another");
    assert_ne!(hash(&record)["hash"], first["hash"]);
}

#[test]
fn a_record_in_its_wrapping_is_noticed() {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile"];
    let ended = syncline(&arguments, &[], PROFILE.as_bytes());
    assert_eq!(ended.code, 0);
    assert!(ended.err.contains("nothing of this counts"), "{ended:?}");
    let ended = syncline(&arguments, &[], profile().to_string().as_bytes());
    assert_eq!(ended.err, "");
}

/// The same for every kind of record that there are samples of.
#[test]
fn each_kind_of_record_has_a_hash() {
    let samples = |platform: &str| format!("../common/src/platform/{platform}/samples");
    let kinds = [
        ("klaviyo", "list", "/attributes/name"),
        ("klaviyo", "list-membership", "/attributes/joined_group_at"),
        ("klaviyo", "event", "/attributes/datetime"),
        ("eventbrite", "event", "/name/text"),
        ("eventbrite", "attendee", "/status"),
        ("eventbrite", "order", "/status"),
    ];
    for (platform, kind, counts) in kinds {
        let text = std::fs::read_to_string(format!("{}/{kind}.json", samples(platform))).unwrap();
        let mut record: Value = serde_json::from_str(&text).unwrap();
        if let Some(data) = record.get("data") {
            record = data.get(0).unwrap_or(data).clone();
        }
        let arguments = ["hash", "--platform", platform, "--record-type", kind, "--json"];
        let hash = |record: &Value| {
            syncline(&arguments, &[], record.to_string().as_bytes()).json()["hash"].clone()
        };
        let first = hash(&record);
        record["resource_uri"] = json!("https://elsewhere.example/");
        record["links"] = json!({ "self": "https://elsewhere.example/" });
        assert_eq!(hash(&record), first, "{platform} {kind}");
        *record.pointer_mut(counts).unwrap() = json!("another");
        assert_ne!(hash(&record), first, "{platform} {kind}");
    }
}

#[test]
fn what_cannot_be_hashed_is_an_error_that_says_where() {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile"];
    let ended = syncline(&arguments, &[], b"{\n  \"id\": }");
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("line 2"), "{ended:?}");

    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "order"];
    let ended = syncline(&arguments, &[], b"{}");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("there are profile"), "{ended:?}");
}

#[test]
fn a_signed_webhook_tells_the_records_it_makes_dirty() {
    let ended = verify(KLAVIYO, KLAVIYO, SECRET);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "profile 01JEXAMPLE5P6Q7R8S9T0V1W2X\n");
}

#[test]
fn a_forged_webhook_is_refused_and_the_reason_told() {
    let mut changed = KLAVIYO.to_vec();
    changed[5] = b' ';
    for ended in [verify(KLAVIYO, &changed, SECRET), verify(KLAVIYO, KLAVIYO, "another secret")] {
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.out.starts_with("refused: the signature does not match"), "{ended:?}");
    }
}

#[test]
fn a_body_that_is_not_understood_is_told_from_a_forged_one() {
    let ended = verify(b"[]", b"[]", SECRET);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("not understood"), "{ended:?}");
}

#[test]
fn a_platform_that_signs_nothing_needs_no_secret() {
    let arguments = ["verify-webhook", "--platform", "eventbrite", "--json"];
    let answer = syncline(&arguments, &[], EVENTBRITE).json();
    let notice = json!({ "record_type": "attendee", "external_id": "880011223344/12100200301" });
    assert_eq!(answer, json!({ "notices": [notice], "refused": null }));
}
