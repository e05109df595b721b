//! Answers and pointers that nobody promised.

use proptest::prelude::*;

use super::*;
use crate::platform::tests::noise::is_survived;

/// Only a 404 and an order that was never completed say that a record is gone.
#[test]
fn no_answer_makes_it_panic_or_believe_more_than_it_says() {
    is_survived(
        &Eventbrite,
        &[
            ("event", ["880011223344", "88"]),
            ("attendee", ["880011223344/12100200301", "880011223344/1"]),
            ("order", ["9100200300", "91"]),
        ],
        &[
            include_str!("../samples/event.json"),
            include_str!("../samples/attendee.json"),
            include_str!("../samples/order.json"),
            include_str!("../samples/error-429.json"),
            r#"{"pagination":{"has_more_items":true,"continuation":"x"},"events":[],"attendees":[{"id":"1","event_id":"88"}],"orders":[]}"#,
            r#"{"status_code":400,"error":"ORDER_EXPIRED"}"#,
        ],
        |status, body| {
            let body = String::from_utf8_lossy(body);
            status == 404 || status == 400 && body.contains("ORDER_EXPIRED")
        },
    );
}

proptest! {
    #[test]
    fn no_body_of_a_refusal_makes_it_panic(status in 100..999_u16, body: Vec<u8>) {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers: HeaderMap::new(), body: body.into() };
        let _meaning = errors::meaning(&answer);
    }

    #[test]
    fn no_header_about_limits_makes_it_panic_or_wait_too_long(
        status in 100..999_u16,
        remaining in "[ -~]{0,12}",
        reset in prop_oneof!["[ -~]{0,12}".boxed(), any::<i64>().prop_map(|n| n.to_string()).boxed()],
        wait in "[ -~]{0,12}",
        date in "[ -~]{0,30}",
    ) {
        let headers = HeaderMap::from_iter([
            ("x-ratelimit-remaining".parse().unwrap(), remaining.parse().unwrap()),
            ("x-ratelimit-reset".parse().unwrap(), reset.parse().unwrap()),
            ("retry-after".parse().unwrap(), wait.parse().unwrap()),
            ("date".parse().unwrap(), date.parse().unwrap()),
        ]);
        let signal = limits::signal(StatusCode::from_u16(status).unwrap(), &headers);
        prop_assert_eq!(signal.refused_for.is_some(), status == 429);
        prop_assert!(signal.refused_for.unwrap_or_default() <= Duration::from_hours(24));
        prop_assert!(signal.remaining.unwrap_or_default().1 <= Duration::from_hours(1));
    }

    /// What comes out is a record by numbers alone, whatever the pointer is made of.
    #[test]
    fn no_pointer_names_what_is_no_record(
        action in prop_oneof!["(event|attendee|order)\\.[a-z]{0,9}".boxed(), any::<String>().boxed()],
        url in prop_oneof![
            "https://www\\.eventbriteapi\\.com/v3/(events|orders|venues|\\.\\.|)/[0-9a-z%?#@./]{0,40}".boxed(),
            any::<String>().boxed(),
        ],
    ) {
        for notice in webhook::receive(&pointer(&action, &url)).unwrap_or_default() {
            let id = notice.external_id.as_str();
            prop_assert!(id.bytes().all(|b| b.is_ascii_digit() || b == b'/'));
            let parts = if notice.record_type.as_str() == "attendee" { 2 } else { 1 };
            prop_assert_eq!(id.split('/').filter(|part| !part.is_empty()).count(), parts);
        }
    }
}
