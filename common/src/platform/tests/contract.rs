//! What holds for every platform: a new one is covered as soon as it has its samples here.

use axum::response::IntoResponse;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::drift::Shape;
use crate::ids::{ExternalId, Lane};
use crate::platform::tests::fake::{Fake, Purse};
use crate::platform::tests::{SECRET, account, api, kind, offline, samples, snapshot};
use crate::platform::{
    Account, Call, Look, Platform, Refused, ScanFrom, WebhookRequest, all, named,
};

/// A record as the platform gives it, and what of it counts.
pub(super) struct Record {
    pub(super) kind: &'static str,
    pub(super) payload: &'static str,
    /// JSON Pointers to what may move although nobody edits the record.
    pub(super) volatile: &'static [&'static str],
    /// To what a person would call a change.
    pub(super) real: &'static [&'static str],
    /// To arrays whose order is not promised.
    pub(super) unordered: &'static [&'static str],
}

/// What a platform sends.
pub(super) struct Samples {
    pub(super) records: Vec<Record>,
    pub(super) webhook: &'static [u8],
    /// Its signature over a body, in headers; none where it signs nothing.
    pub(super) sign: Option<fn(&[u8]) -> HeaderMap>,
    /// Headers that come with it and are not signed.
    pub(super) unsigned: &'static [&'static str],
    /// The secret of the connection.
    pub(super) secret: String,
}

fn samples(platform: &str) -> Samples {
    match platform {
        "klaviyo" => Samples {
            records: vec![
                Record {
                    kind: "profile",
                    payload: include_str!("../klaviyo/samples/profile.json"),
                    volatile: &[
                        "/attributes/updated",
                        "/attributes/last_event_date",
                        "/attributes/location/ip",
                        "/attributes/predictive_analytics",
                        "/relationships/lists/links/self",
                        "/links/self",
                    ],
                    real: &[
                        "/attributes/email",
                        "/attributes/location/city",
                        "/attributes/properties/vip",
                        "/attributes/properties/favourite_colours/0",
                    ],
                    unordered: &[],
                },
                Record {
                    kind: "list",
                    payload: include_str!("../klaviyo/samples/list.json"),
                    volatile: &["/attributes/updated", "/links/self"],
                    real: &["/attributes/name", "/attributes/opt_in_process"],
                    unordered: &[],
                },
                Record {
                    kind: "list-membership",
                    payload: include_str!("../klaviyo/samples/list-membership.json"),
                    volatile: &["/links/self", "/attributes/updated", "/attributes/email"],
                    real: &["/id", "/attributes/joined_group_at"],
                    unordered: &[],
                },
                Record {
                    kind: "event",
                    payload: include_str!("../klaviyo/samples/event.json"),
                    volatile: &["/links/self"],
                    real: &[
                        "/attributes/datetime",
                        "/attributes/event_properties/List",
                        "/relationships/profile/data/id",
                        "/relationships/metric/data/id",
                    ],
                    unordered: &[],
                },
            ],
            webhook: include_bytes!("../klaviyo/samples/webhook-subscribed.json"),
            sign: Some(sign_as_klaviyo),
            unsigned: &[],
            secret: SECRET.to_owned(),
        },
        "eventbrite" => Samples {
            records: vec![
                Record {
                    kind: "event",
                    payload: include_str!("../eventbrite/samples/event.json"),
                    volatile: &["/changed", "/resource_uri", "/ticket_availability"],
                    real: &["/status", "/name/text", "/start/utc", "/capacity"],
                    unordered: &[],
                },
                Record {
                    kind: "attendee",
                    payload: include_str!("../eventbrite/samples/attendee.json"),
                    volatile: &["/changed", "/resource_uri", "/costs/gross/display"],
                    real: &[
                        "/status",
                        "/checked_in",
                        "/profile/email",
                        "/costs/gross/value",
                        "/answers/0/answer",
                        "/barcodes/0/status",
                    ],
                    unordered: &["/answers", "/barcodes", "/questions"],
                },
                Record {
                    kind: "order",
                    payload: include_str!("../eventbrite/samples/order.json"),
                    volatile: &["/changed", "/resource_uri", "/time_remaining"],
                    real: &["/status", "/email", "/costs/gross/currency"],
                    unordered: &[],
                },
            ],
            webhook: include_bytes!("../eventbrite/samples/webhook-attendee-updated.json"),
            sign: None,
            unsigned: &[],
            secret: SECRET.to_owned(),
        },
        "discord" => samples::discord(),
        "patreon" => samples::patreon(),
        other => panic!("no samples of {other}"),
    }
}

/// As the documents describe it: hex HMAC-SHA256 over the body and the time header.
pub(crate) fn sign_as_klaviyo(body: &[u8]) -> HeaderMap {
    let time = "Thu, 04 Jan 2024 18:05:25 GMT";
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&[body, time.as_bytes()].concat());
    let signature = hex::encode(mac.finalize().into_bytes());
    HeaderMap::from_iter([
        ("klaviyo-signature".parse().unwrap(), signature.parse().unwrap()),
        ("klaviyo-timestamp".parse().unwrap(), time.parse().unwrap()),
        ("klaviyo-webhook-id".parse().unwrap(), "01JWEBHOOKEXAMPLE".parse().unwrap()),
    ])
}

/// An account of this platform that has its webhook secret, and whose API is never called.
fn signing(platform: &dyn Platform) -> Account {
    let webhook_secret = Some(samples(platform.name()).secret.into());
    Account { webhook_secret, ..offline(platform) }
}

/// Every record of every platform, with the object itself as payload.
fn each_record(check: impl Fn(&dyn Platform, &Record, &Value)) {
    for &platform in all() {
        let samples = samples(platform.name());
        assert_eq!(
            samples.records.iter().map(|record| record.kind).collect::<Vec<_>>(),
            platform.records().iter().map(|kind| kind.name).collect::<Vec<_>>(),
            "samples of {}",
            platform.name()
        );
        for record in &samples.records {
            let mut payload: Value = serde_json::from_str(record.payload).unwrap();
            // Tiers only come with their campaign.
            let place = if record.kind == "tier" { "/included/0" } else { "/data" };
            if let Some(data) = payload.pointer(place) {
                payload = data.get(0).unwrap_or(data).clone();
            }
            check(platform, record, &payload);
        }
    }
}

fn hash(platform: &dyn Platform, record: &Record, payload: &Value) -> String {
    let kind = platform.records().iter().find(|kind| kind.name == record.kind).unwrap();
    snapshot(kind, &payload.to_string()).hash.to_string()
}

/// Puts a value where a pointer leads, also where nothing was yet.
fn put(payload: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = payload.pointer_mut(pointer) {
        *place = value;
        return;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if payload.pointer(parent).is_none() {
        put(payload, parent, json!({}));
    }
    payload.pointer_mut(parent).unwrap()[name] = value;
}

#[test]
fn names_addresses_and_limits_make_sense() {
    for &platform in all() {
        assert_eq!(named(platform.name()).unwrap().name(), platform.name());
        assert!(format!("{}/main", platform.name()).parse::<Lane>().is_ok());
        assert!(platform.base_url().starts_with("https://") && !platform.base_url().ends_with('/'));
        let limits = platform.limits();
        assert_eq!(limits.check(), Ok(()));
        for record in platform.records() {
            let check = &limits.kinds[record.name];
            let scan = &limits.kinds[&format!("scan@{}", record.name)];
            assert_eq!(check.batch, record.batch, "{}", record.name);
            assert_eq!(scan.batch, 1, "a scan reads one page a request");
        }
    }
    assert!(named("myspace").is_none());
}

/// A set that is sorted by a field which does not count would have no one form.
#[test]
fn every_set_is_sorted_by_a_field_that_counts() {
    fn walk(shape: &Shape) {
        match shape {
            Shape::Object(fields) | Shape::Marks(fields) => {
                fields.iter().for_each(|field| walk(&field.shape));
            }
            Shape::List(of) => walk(of),
            Shape::Set { of, by } | Shape::NumberedSet { of, by } => {
                if let (Shape::Object(fields), Some(by)) = (of, by) {
                    assert!(fields.iter().any(|field| field.name == *by), "{by}");
                }
                walk(of);
            }
            _ => {}
        }
    }
    for &platform in all() {
        platform.records().iter().for_each(|record| walk(record.shape));
    }
}

#[test]
fn what_moves_by_itself_does_not_change_the_hash_and_an_edit_does() {
    each_record(|platform, record, payload| {
        let before = hash(platform, record, payload);
        for pointer in record.volatile {
            let mut moved = payload.clone();
            put(&mut moved, pointer, json!("2026-12-01T00:00:00Z"));
            assert_eq!(hash(platform, record, &moved), before, "{} {pointer}", record.kind);
        }
        for pointer in record.real {
            let mut edited = payload.clone();
            assert!(edited.pointer(pointer).is_some(), "{} {pointer}", record.kind);
            put(&mut edited, pointer, json!("edited"));
            assert_ne!(hash(platform, record, &edited), before, "{} {pointer}", record.kind);
        }
    });
}

#[test]
fn null_is_as_good_as_absent_in_what_the_platform_names() {
    each_record(|platform, record, payload| {
        let mut shorter = payload.clone();
        let members = shorter.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        if let Some(attributes) = members.get_mut("attributes").and_then(Value::as_object_mut) {
            attributes.retain(|_, value| !value.is_null());
        }
        assert_eq!(hash(platform, record, &shorter), hash(platform, record, payload));
    });
}

#[test]
fn arrays_without_a_promised_order_are_compared_as_sets() {
    each_record(|platform, record, payload| {
        for pointer in record.unordered {
            // Whatever the elements are told apart by, objects and plain ids alike.
            let element = |id: &str| {
                if ["discord_role_ids", "roles", "features"]
                    .iter()
                    .any(|end| pointer.ends_with(end))
                {
                    return json!(id);
                }
                json!({ "id": id, "barcode": id, "question_id": id, "status": id })
            };
            let mut one = payload.clone();
            put(&mut one, pointer, json!([element("9"), element("10")]));
            let mut other = one.clone();
            other.pointer_mut(pointer).unwrap().as_array_mut().unwrap().reverse();
            assert_eq!(hash(platform, record, &one), hash(platform, record, &other), "{pointer}");
            assert_ne!(hash(platform, record, &one), hash(platform, record, payload), "{pointer}");
        }
    });
}

/// The same JSON with the members of all objects the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().rev();
            let written =
                members.map(|(name, value)| format!("{}: {}", json!(name), reversed(value)));
            format!("{{ {} }}", written.collect::<Vec<_>>().join(" ,"))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(reversed).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_order_of_keys_does_not_change_the_hash() {
    each_record(|platform, record, payload| {
        let kind = platform.records().iter().find(|kind| kind.name == record.kind).unwrap();
        let other_way_round = reversed(payload);
        assert_ne!(other_way_round, payload.to_string());
        let hash_of = |payload: &str| snapshot(kind, payload).hash;
        assert_eq!(hash_of(&other_way_round), hash_of(&payload.to_string()), "{}", record.kind);
    });
}

/// What a hash is made of may only change together with the schema version.
#[test]
fn hashes_of_the_samples_are_the_same_in_every_release() {
    let hashes = std::cell::RefCell::new(Vec::new());
    each_record(|platform, record, payload| {
        let hash = hash(platform, record, payload);
        hashes.borrow_mut().push(format!("{} {} {hash}", platform.name(), record.kind));
    });
    insta::assert_snapshot!(hashes.into_inner().join("\n"), @r"
    discord guild aa27fff048eefa35cbb38d51e923fdd4
    discord member 843e7e354c3958a27493df327e83ba0b
    discord role 651448d581f388be428faec3a4ae852c
    discord entitlement 5f3bb0b6d9a99bf3ad11a0030a52f71d
    eventbrite event d947161adcf1ac7e404622ca429b767b
    eventbrite attendee 1ff39a966f35ca54858111b8d00b4494
    eventbrite order 3c2bad718c9641cfc348f54030fbbf65
    klaviyo profile 307a42051417680e755635a06aab44f0
    klaviyo list 2251c1fcf40f9ba242c077d8c31ceb07
    klaviyo list-membership 28c345d083ffaf6bc7b92c94e24429b8
    klaviyo event bb257da412efe7480b58eb4c846f3866
    patreon campaign d8edba78bdfb3fc6f7e1be8614fb539c
    patreon member bbfea13952c41698bf2b383e51f2b633
    patreon tier bf7cc544b5daf20da33fa966554bdd70
    ");
}

#[test]
fn a_delivery_that_is_read_twice_gives_the_same_notices_each_once() {
    for &platform in all() {
        let Samples { webhook, sign, .. } = samples(platform.name());
        let headers = sign.map_or_else(HeaderMap::new, |sign| sign(webhook));
        let request = WebhookRequest { headers: &headers, body: webhook };
        let account = signing(platform);
        let first = platform.receive(&account, &request).unwrap();
        assert_eq!(platform.receive(&account, &request).unwrap(), first);
        assert_eq!(first.len(), 1);
        assert!(platform.records().iter().any(|kind| kind.name == first[0].record_type.as_str()));
    }
}

#[test]
fn a_signed_delivery_with_one_bit_changed_is_refused() {
    for &platform in all() {
        let Samples { webhook, sign: Some(sign), unsigned, .. } = samples(platform.name()) else {
            continue;
        };
        let headers = sign(webhook);
        let account = signing(platform);
        for n in 0..webhook.len() {
            let mut body = webhook.to_vec();
            body[n] ^= 1;
            let request = WebhookRequest { headers: &headers, body: &body };
            let refused = platform.receive(&account, &request);
            assert!(matches!(refused, Err(Refused::Forged(_))), "byte {n}");
        }
        for name in headers.keys().filter(|name| !unsigned.contains(&name.as_str())) {
            let (mut without, mut doubled, mut other) =
                (headers.clone(), headers.clone(), headers.clone());
            without.remove(name);
            doubled.append(name, headers[name].clone());
            other.insert(name, "aaaa".parse().unwrap());
            for headers in [&without, &doubled, &other] {
                let request = WebhookRequest { headers, body: webhook };
                let refused = platform.receive(&account, &request);
                assert!(matches!(refused, Err(Refused::Forged(_))), "{name}: {headers:?}");
            }
        }
        let mut nobody = offline(platform);
        for secret in [None, Some("".into())] {
            nobody.webhook_secret = secret;
            let request = WebhookRequest { headers: &headers, body: webhook };
            assert!(matches!(platform.receive(&nobody, &request), Err(Refused::Forged(_))));
        }
    }
}

proptest! {
    #[test]
    fn no_body_makes_a_receiver_panic(noise: Vec<u8>, at: prop::sample::Index, byte: u8) {
        for &platform in all() {
            let Samples { webhook, sign, .. } = samples(platform.name());
            let mut damaged = webhook.to_vec();
            damaged[at.index(webhook.len())] = byte;
            for body in [&noise, &damaged] {
                let headers = sign.map_or_else(HeaderMap::new, |sign| sign(body));
                let request = WebhookRequest { headers: &headers, body };
                if let Ok(notices) = platform.receive(&signing(platform), &request) {
                    prop_assert!(notices.len() <= 1);
                }
            }
        }
    }
}

/// The id by which a record of the samples is asked for.
fn id_of(platform: &str, kind: &str, payload: &Value) -> ExternalId {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    ExternalId::new(match (platform, kind) {
        ("eventbrite", "attendee") => format!("{}/{}", text("/event_id"), text("/id")),
        ("discord", "member") => format!("1/{}", text("/user/id")),
        ("discord", "role") => format!("1/{}", text("/id")),
        ("patreon", "tier") => format!("4455667/{}", text("/id")),
        _ => text("/id"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a platform answers, nobody panics, and nothing is said of a record that the answer
    /// does not say: a refusal or a failure never finds, misses or buries one.
    #[test]
    fn no_answer_becomes_a_wrong_write(
        status in prop::sample::select(vec![200, 400, 401, 403, 404, 410, 429, 500, 503]),
        noise: Vec<u8>,
        at: prop::sample::Index,
        byte: u8,
        damage: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        each_record(|platform, record, payload| {
            let id = id_of(platform.name(), record.kind, payload);
            let mut sample = record.payload.as_bytes().to_vec();
            if damage {
                let at = at.index(sample.len());
                sample[at] = byte;
            }
            let list = [b"[".as_slice(), &sample, b"]"].concat();
            for body in [noise.clone(), sample.clone(), list] {
                let looked = runtime.block_on(async {
                    let fake = Fake::start(move |_| {
                        (StatusCode::from_u16(status).unwrap(), body.clone()).into_response()
                    })
                    .await;
                    let account = account(platform, &fake.url);
                    let (api, purse) = (api(), Purse::of(9));
                    let call = Call::new(&api, &account, &purse, record.kind);
                    let kind = kind(platform.name(), record.kind);
                    let from = ScanFrom::default();
                    let page = platform.scan(&call, kind, &from).await;
                    // What is only scanned for hints asks for nothing without a time to start from.
                    let asks = kind.mirrored;
                    assert!(page.is_err() || status == 200 || !asks, "{page:?}");
                    platform.look(&call, kind, std::slice::from_ref(&id)).await
                });
                for look in looked.unwrap_or_default() {
                    assert_eq!(look.external_id(), &id);
                    match look {
                        Look::Found(_) => assert_eq!(status, 200),
                        Look::Gone(_) => assert_eq!(status, 410),
                        // A list may leave it out; an order may have expired.
                        Look::Missing(_) => assert!([200, 400, 404].contains(&status), "{status}"),
                        _ => {}
                    }
                }
            }
        });
    }
}

#[test]
fn only_a_list_of_what_changed_can_name_what_was_edited() {
    for platform in all() {
        for kind in platform.records() {
            let can = kind.changed_since && kind.mirrored;
            assert!(can || !kind.lists_edits, "{} {}", platform.name(), kind.name);
        }
    }
}
