//! Which answers count towards a block of our address.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode};

use super::fake::{Fake, Purse};
use super::{account, api, kind};
use crate::platform::{Call, Platform, all, named};

/// One look whose request is answered like this; how many answers were counted.
async fn counted(
    platform: &dyn Platform,
    record: &str,
    status: u16,
    header: Option<(&'static str, &'static str)>,
) -> u32 {
    let fake = Fake::start(move |_| -> Response {
        let headers = header.map(|(name, value)| [(HeaderName::from_static(name), value)]);
        let (status, body) = (StatusCode::from_u16(status).unwrap(), r#"{"errors":[]}"#);
        match headers {
            Some(headers) => (status, headers, body).into_response(),
            None => (status, body).into_response(),
        }
    })
    .await;
    let (api, account, purse) = (api(), account(platform, &fake.url), Purse::of(1));
    let call = Call::new(&api, &account, &purse, record);
    drop(platform.look(&call, kind(platform.name(), record), &["1/2".into()]).await);
    assert_eq!(fake.seen().len(), 1);
    purse.failed()
}

#[tokio::test]
async fn only_what_the_platform_counts_is_counted() {
    let shared = Some(("x-ratelimit-scope", "shared"));
    let global = Some(("x-ratelimit-scope", "global"));
    let cases = [
        ("discord", "member", 401, None, 1),
        ("discord", "member", 403, None, 1),
        ("discord", "member", 429, None, 1),
        ("discord", "member", 429, global, 1),
        ("discord", "member", 429, shared, 0),
        ("discord", "member", 404, None, 0),
        ("discord", "member", 500, None, 0),
        ("patreon", "tier", 400, None, 1),
        ("patreon", "tier", 404, None, 1),
        ("patreon", "tier", 429, None, 1),
        ("patreon", "tier", 503, None, 0),
        ("eventbrite", "attendee", 403, None, 0),
    ];
    for (name, record, status, header, expected) in cases {
        let counted = counted(named(name).unwrap(), record, status, header).await;
        assert_eq!(counted, expected, "{name} {status} {header:?}");
    }
}

#[test]
fn budgets_make_sense() {
    for platform in all() {
        if let Some(budget) = platform.error_budget() {
            assert!(budget.limit > 0 && !budget.window.is_zero(), "{}", platform.name());
        }
    }
    assert_eq!(named("discord").unwrap().error_budget().unwrap().limit, 10_000);
    assert_eq!(named("patreon").unwrap().error_budget().unwrap().limit, 2_000);
}
