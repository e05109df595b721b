//! The simulated platforms' own clock and the forms in which they write an instant.

use jiff::Timestamp;

/// The wall clock of the platforms, in whole seconds as their records carry it.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulated platforms are another world, with a clock of their own"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Cut to whole seconds, the resolution of `updated` and `changed`.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// `2026-11-20T21:14:07+00:00`, as in Klaviyo's profiles.
pub(crate) fn with_offset(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// `2026-11-20T21:14:07.000+00:00`, the other spelling in Patreon's samples.
pub(crate) fn with_millis(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}

/// `2025-03-09T17:40:12.345000+00:00`, as in Discord's members.
pub(crate) fn with_micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// `2026-11-20 21:14:05+00:00`, as in Klaviyo's events: a space and no `T`.
pub(crate) fn with_space(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// `2026-11-19T14:02:08Z`, as in Eventbrite's records.
pub(crate) fn with_z(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `Thu, 04 Jan 2024 18:05:25 GMT`, as in HTTP headers.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
