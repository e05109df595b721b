//! Notices of our own: how a bridge tells of changes that no webhook carries.
//!
//! Discord sends members, roles and guilds over its gateway only. Whoever listens there posts
//! what it heard in the form that [`read_bridged`] reads, signed with a secret of ours.

use std::collections::BTreeSet;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

use crate::ids::ExternalId;
use crate::platform::{Notice, RecordKind, Refused, WebhookRequest};

/// Most records in one notice.
pub const MAX_BRIDGED_IDS: usize = 1000;

/// Longest id of a record, in bytes.
const MAX_ID_BYTES: usize = 256;

/// How far the time of a signature may be from ours: clocks differ, and senders try again.
const MAX_AGE: Duration = Duration::from_mins(5);

const SIGNATURE: &str = "syncline-signature";

/// The body of a bridged notice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    record_type: String,
    ids: Vec<String>,
}

/// A notice that was signed with our secret, at a time that is still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridged {
    signed_at: Timestamp,
    notices: Vec<Notice>,
}

impl Bridged {
    /// The records that it makes dirty, each once, if it was signed within five minutes of `now`. A
    /// repetition within them only leads to another look.
    ///
    /// # Errors
    ///
    /// [`Refused::Forged`] when it is older, or from the future.
    pub fn received_at(self, now: Timestamp) -> Result<Vec<Notice>, Refused> {
        if self.signed_at.duration_since(now).unsigned_abs() > MAX_AGE {
            return Err(Refused::Forged("its time is more than five minutes away"));
        }
        Ok(self.notices)
    }
}

/// Checks that a notice comes from a bridge that shares `secret` with us, and reads which records
/// of `kinds` it names. When it was signed is for [`Bridged::received_at`] to judge: nobody has to
/// be asked for the time before the signature is right.
///
/// The body is `{"record_type": "member", "ids": ["<guild>/<user>"]}`, [`MAX_BRIDGED_IDS`] ids at
/// most. The header `Syncline-Signature` is `t=<Unix seconds>,v1=<hex>`: HMAC-SHA256 over the
/// time as it is written there, a dot, and the raw body. Several `v1` are allowed, so that a
/// bridge can sign with an old and a new secret while it is changed.
///
/// # Errors
///
/// [`Refused::Forged`] when the signature does not fit, [`Refused::NotUnderstood`] when the body is
/// another, names no kind of `kinds` that is mirrored, or more than it may.
pub fn read_bridged(
    secret: &SecretString,
    kinds: &[RecordKind],
    request: &WebhookRequest<'_>,
) -> Result<Bridged, Refused> {
    let signed_at = verify(secret, request)?;
    let body: Body = serde_json::from_slice(request.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not a notice, at line {line} column {column}"))
    })?;
    // A kind that is not mirrored has no records to look at.
    let kinds = || kinds.iter().filter(|kind| kind.mirrored);
    let kind = kinds().find(|kind| kind.name == body.record_type).ok_or_else(|| {
        let names: Vec<&str> = kinds().map(|kind| kind.name).collect();
        Refused::NotUnderstood(format!("record_type is none of {}", names.join(", ")))
    })?;
    if body.ids.len() > MAX_BRIDGED_IDS {
        return Err(Refused::NotUnderstood(format!("more than {MAX_BRIDGED_IDS} ids")));
    }
    let ids: BTreeSet<String> = body.ids.into_iter().collect();
    if let Some(position) = ids.iter().position(|id| !is_plausible(id)) {
        return Err(Refused::NotUnderstood(format!(
            "an id is empty, longer than {MAX_ID_BYTES} bytes or has odd characters (number \
             {position} of the sorted ones)"
        )));
    }
    let notice = |id| Notice { record_type: kind.name.into(), external_id: ExternalId::new(id) };
    Ok(Bridged { signed_at, notices: ids.into_iter().map(notice).collect() })
}

/// Whether it can be an id of any platform. Whether it is one, the look will tell.
fn is_plausible(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// When it was signed, if it was with this secret.
fn verify(secret: &SecretString, request: &WebhookRequest<'_>) -> Result<Timestamp, Refused> {
    let mut values = request.headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refused::Forged("the header Syncline-Signature is missing or doubled"));
    };
    let value = value.to_str().map_err(|_| Refused::Forged("the signature is no text"))?;
    let part = |name: &'static str| {
        value.split(',').filter_map(move |part| part.trim().strip_prefix(name))
    };
    let mut times = part("t=");
    let (Some(time), None) = (times.next(), times.next()) else {
        return Err(Refused::Forged("the signature has no time, or two"));
    };
    let seconds = time.parse().map_err(|_| Refused::Forged("its time is no number"))?;
    let signed_at =
        Timestamp::from_second(seconds).map_err(|_| Refused::Forged("its time is no time"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map_err(|_| Refused::Forged("the secret cannot be a key"))?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(request.body);
    // Two are enough for a change of secrets; a stranger cannot have us try thousands.
    let fits = part("v1=").take(2).any(|signature| {
        hex::decode(signature).is_ok_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
    });
    if fits { Ok(signed_at) } else { Err(Refused::Forged("not made with our secret")) }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::platform;

    const BODY: &str = r#"{"record_type":"profile","ids":["b","a","b"]}"#;

    fn kinds() -> &'static [RecordKind] {
        platform::named("klaviyo").unwrap().records()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    fn sign(secret: &str, time: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn read(header: &str, body: &[u8]) -> Result<Vec<Notice>, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, header.parse().unwrap());
        let request = WebhookRequest { headers: &headers, body };
        read_bridged(&"bridge".into(), kinds(), &request)?.received_at(now())
    }

    fn signed(body: &str) -> Result<Vec<Notice>, Refused> {
        let signature = sign("bridge", "1790000000", body.as_bytes());
        read(&format!("t=1790000000,v1={signature}"), body.as_bytes())
    }

    #[test]
    fn a_signed_notice_makes_each_of_its_records_dirty_once() {
        let notices = signed(BODY).unwrap();
        let ids: Vec<&str> = notices.iter().map(|notice| notice.external_id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(notices.iter().all(|notice| notice.record_type.as_str() == "profile"));
        assert_eq!(signed(r#"{"record_type":"profile","ids":[]}"#).unwrap(), []);
    }

    #[test]
    fn while_secrets_change_one_good_signature_of_two_is_enough() {
        let good = sign("bridge", "1790000000", BODY.as_bytes());
        let other = sign("other", "1790000000", BODY.as_bytes());
        assert!(read(&format!("t=1790000000, v1={other}, v1={good}"), BODY.as_bytes()).is_ok());
        assert!(read(&format!("t=1790000000,v1={other}"), BODY.as_bytes()).is_err());
        let third = format!("t=1790000000,v1={other},v1={other},v1={good}");
        assert!(read(&third, BODY.as_bytes()).is_err(), "no more than two are tried");
    }

    #[test]
    fn a_notice_that_is_old_early_changed_or_not_signed_is_forged() {
        for time in ["1789999699", "1790000301", "soon", "-9999999999999999", ""] {
            let signature = sign("bridge", time, BODY.as_bytes());
            let read = read(&format!("t={time},v1={signature}"), BODY.as_bytes());
            assert!(matches!(read, Err(Refused::Forged(_))), "{time:?}: {read:?}");
        }
        for time in ["1789999701", "1790000299"] {
            let signature = sign("bridge", time, BODY.as_bytes());
            assert!(read(&format!("t={time},v1={signature}"), BODY.as_bytes()).is_ok(), "{time}");
        }
        let signature = sign("bridge", "1790000000", BODY.as_bytes());
        let changed = BODY.replace("\"a\"", "\"c\"");
        for (header, body) in [
            (format!("t=1790000000,v1={signature}"), changed.as_str()),
            (format!("t=1790000001,v1={signature}"), BODY),
            (format!("v1={signature}"), BODY),
            (format!("t=1790000000,t=1790000000,v1={signature}"), BODY),
            ("t=1790000000".to_owned(), BODY),
            ("t=1790000000,v1=".to_owned(), BODY),
            ("t=1790000000,v1=xyz".to_owned(), BODY),
        ] {
            let read = read(&header, body.as_bytes());
            assert!(matches!(read, Err(Refused::Forged(_))), "{header}: {read:?}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_meant_is_not_understood_and_nothing_of_it_is_taken() {
        let many: Vec<String> = (0..=MAX_BRIDGED_IDS).map(|n| n.to_string()).collect();
        let many = serde_json::json!({ "record_type": "profile", "ids": many }).to_string();
        let long = format!(r#"{{"record_type":"profile","ids":["a","{}"]}}"#, "x".repeat(257));
        for body in [
            "",
            "[]",
            r#"{"record_type":"profile"}"#,
            r#"{"record_type":"planet","ids":["a"]}"#,
            r#"{"record_type":"event","ids":["a"]}"#,
            r#"{"record_type":"profile","ids":["a",""]}"#,
            r#"{"record_type":"profile","ids":["a b"]}"#,
            r#"{"record_type":"profile","ids":["a"],"url":"http://example.org"}"#,
            &many,
            &long,
        ] {
            let read = signed(body);
            assert!(matches!(read, Err(Refused::NotUnderstood(_))), "{body:.60}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(header in "[ -~]{0,80}", body: Vec<u8>) {
            let _any = read(&header, &body);
            let signature = sign("bridge", "1790000000", &body);
            let _any = read(&format!("t=1790000000,v1={signature}"), &body);
        }
    }
}
