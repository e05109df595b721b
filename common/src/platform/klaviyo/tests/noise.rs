//! Answers and deliveries that nobody promised.

use proptest::prelude::*;

use super::*;
use crate::platform::tests::noise::is_survived;

/// A list hides what is gone without a word, and a merged profile is answered with another: so an
/// answer that is fine may mean that a record is missing, and only that.
#[test]
fn no_answer_makes_it_panic_or_believe_more_than_it_says() {
    is_survived(
        &Klaviyo,
        &[
            ("profile", [SAMPLE, "b"]),
            ("list", ["Xy7QeZ", "B"]),
            ("list-membership", ["Xy7QeZ/01JEXAMPLE5P6Q7R8S9T0V1W2X", "Xy7QeZ/b"]),
            ("event", ["e", "f"]),
        ],
        &[
            include_str!("../samples/profile.json"),
            include_str!("../samples/profiles-page.json"),
            include_str!("../samples/list.json"),
            include_str!("../samples/list-membership.json"),
            include_str!("../samples/event.json"),
            include_str!("../samples/error-400.json"),
            r#"{"data":[],"links":{"next":null}}"#,
        ],
        |status, body| status == 404 || (200..300).contains(&status) && !body.is_empty(),
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
        reset in "[ -~]{0,12}",
        wait in "[ -~]{0,12}",
    ) {
        let headers = HeaderMap::from_iter([
            ("ratelimit-remaining".parse().unwrap(), remaining.parse().unwrap()),
            ("ratelimit-reset".parse().unwrap(), reset.parse().unwrap()),
            ("retry-after".parse().unwrap(), wait.parse().unwrap()),
        ]);
        let signal = limits::signal(StatusCode::from_u16(status).unwrap(), &headers);
        prop_assert_eq!(signal.refused_for.is_some(), status == 429);
        prop_assert!(signal.refused_for.unwrap_or_default() <= Duration::from_hours(24));
        prop_assert!(signal.remaining.unwrap_or_default().1 <= Duration::from_mins(1));
    }

    /// Whatever is inside, only what is an id becomes one, and each once.
    #[test]
    fn no_signed_delivery_names_what_is_no_profile(
        ids in prop::collection::vec("[a-zA-Z0-9/\"._-]{0,70}", 0..20),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let ids: Vec<_> = ids.iter().map(|id| Some(id.as_str())).collect();
        let mut body = delivery(&ids);
        let at = at.index(body.len());
        for damaged in [false, true] {
            if damaged {
                body[at] = byte;
            }
            let mut notices = receive(&body).unwrap_or_default();
            let all = notices.len();
            notices.dedup();
            prop_assert_eq!(notices.len(), all);
            for notice in notices {
                let id = notice.external_id.as_str();
                prop_assert_eq!(notice.record_type.as_str(), "profile");
                prop_assert!(!id.is_empty() && id.len() <= 64);
                prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            }
        }
    }
}
