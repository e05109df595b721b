//! What fuzz targets reach of the adapters; built for them alone.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::platform::answer::Answer;
use crate::platform::{discord, eventbrite, klaviyo, patreon};
use crate::quota::RateSignal;

/// What each platform would have said about its limits with this answer.
pub fn signals(status: StatusCode, headers: &HeaderMap) -> Vec<RateSignal> {
    [&discord::DIALECT, &eventbrite::DIALECT, &klaviyo::DIALECT, &patreon::DIALECT]
        .map(|dialect| (dialect.signal)(status, headers))
        .into()
}

/// Reads an answer of each platform, for its meaning and for where its list goes on.
pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    let answer = Answer { status, headers: headers.clone(), body: Bytes::copy_from_slice(body) };
    discord::read_anything(&answer);
    eventbrite::read_anything(&answer);
    klaviyo::read_anything(&answer);
    patreon::read_anything(&answer);
}
