//! Any answer of a platform, as far as it is read without a record in it: what it says about limits,
//! what it means, and where its list goes on.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use common::platform::fuzzing;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 9] = [
    "retry-after",
    "date",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-ratelimit-bucket",
];

#[derive(Arbitrary, Debug)]
struct Answer<'a> {
    status: u16,
    headers: Vec<(u8, &'a [u8])>,
    body: &'a [u8],
}

fuzz_target!(|answer: Answer<'_>| {
    let Ok(status) = StatusCode::from_u16(100 + answer.status % 900) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers.iter().take(16) {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for signal in fuzzing::signals(status, &headers) {
        assert!(status != StatusCode::TOO_MANY_REQUESTS || signal.refused_for.is_some());
        let day = Duration::from_hours(24);
        assert!(signal.refused_for.unwrap_or_default() <= day);
        assert!(signal.remaining.unwrap_or_default().1 <= day);
    }
    fuzzing::read(status, &headers, answer.body);
});
