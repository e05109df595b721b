//! Answers that nobody promised: damaged, of another form, of any status.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::ids::ExternalId;
use crate::platform::tests::fake::{Fake, Purse, answer};
use crate::platform::tests::{account, api};
use crate::platform::{Call, Look, Platform, ScanFrom};

/// An answer to whatever is asked.
#[derive(Clone, Debug)]
struct Noise {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Any bytes, or one of `samples` with some of its bytes changed.
fn bodies(samples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        prop::sample::select(samples),
        prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
    )
        .prop_map(|(sample, changes)| {
            let mut body = sample.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body
        });
    prop_oneof![1 => any::<Vec<u8>>(), 4 => damaged]
}

fn noise(samples: &'static [&'static str]) -> impl Strategy<Value = Noise> {
    let status = prop_oneof![4 => Just(200), 2 => prop::sample::select(vec![400, 401, 403, 404, 410, 429]), 1 => 200..600_u16];
    let name = prop::sample::select(vec![
        "retry-after",
        "date",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "content-encoding",
    ]);
    let headers = prop::collection::vec((name.prop_map(str::to_owned), "[ -~]{0,20}"), 0..4);
    (status, headers, bodies(samples)).prop_map(|(status, headers, body)| Noise {
        status,
        headers,
        body,
    })
}

/// Looks at records and scans them while the platform answers with noise: nothing panics, and
/// what is told of a record is never more than the answers allow.
///
/// - `ids`: of each kind of record, some to look at.
/// - `gone`: whether an answer of this status and body may say that a record is gone.
pub(crate) fn is_survived(
    platform: &'static dyn Platform,
    ids: &[(&str, [&str; 2])],
    samples: &'static [&'static str],
    gone: fn(u16, &[u8]) -> bool,
) {
    let runtime = Runtime::new().unwrap();
    let now: Arc<Mutex<Noise>> =
        Arc::new(Mutex::new(Noise { status: 200, headers: Vec::new(), body: Vec::new() }));
    let said = Arc::clone(&now);
    let fake = runtime.block_on(Fake::start(move |_| {
        let noise = said.lock().unwrap().clone();
        let mut response = answer(noise.status, "");
        *response.body_mut() = noise.body.into();
        for (name, value) in noise.headers {
            response.headers_mut().append(
                http::HeaderName::try_from(name).unwrap(),
                http::HeaderValue::from_str(&value).unwrap(),
            );
        }
        response
    }));
    let (api, account) = (api(), account(platform, &fake.url));
    let mut runner =
        TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let cases = (noise(samples), "[ -~]{0,30}");
    runner
        .run(&cases, |(noise, cursor)| {
            *now.lock().unwrap() = noise.clone();
            for (record, ids) in ids {
                let kind = platform.records().iter().find(|kind| kind.name == *record).unwrap();
                let asked = ids.map(ExternalId::from);
                let purse = Purse::of(9);
                let call = Call::new(&api, &account, &purse, record);
                let looks = runtime.block_on(platform.look(&call, kind, &asked));
                for look in looks.into_iter().flatten() {
                    match look {
                        Look::Found(found) => {
                            prop_assert!((200..300).contains(&noise.status));
                            let text = String::from_utf8_lossy(&noise.body);
                            let id = found.external_id.as_str();
                            let own = id.rsplit('/').next().unwrap();
                            prop_assert!(text.contains(found.payload.get()), "not what was said");
                            prop_assert!(found.payload.get().contains(own), "{id}");
                        }
                        Look::Missing(id) | Look::Gone(id) => {
                            prop_assert!(asked.contains(&id));
                            prop_assert!(gone(noise.status, &noise.body), "{id} by {noise:?}");
                        }
                        Look::Postponed(id)
                        | Look::OutOfReach { external_id: id, .. }
                        | Look::Unclear { external_id: id, .. } => {
                            prop_assert!(!id.as_str().is_empty());
                        }
                    }
                }
                let changed_since = Some("2026-11-20T00:00:00Z".parse().unwrap());
                for cursor in [None, Some(cursor.clone())] {
                    let from = ScanFrom { cursor, changed_since };
                    let (purse, scan) = (Purse::of(1), format!("scan@{record}"));
                    let call = Call::new(&api, &account, &purse, &scan);
                    let scanned = runtime.block_on(platform.scan(&call, kind, &from));
                    if let Ok(page) = scanned {
                        prop_assert!(
                            StatusCode::from_u16(noise.status).unwrap().is_success()
                                || page.records.is_empty() && page.hints.is_empty()
                        );
                        prop_assert!(page.next.is_none() || page.next != from.cursor);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
