//! What goes between the scripts and us in bytes: what a lane may send, who asked for a job, what became
//! of it, and what a claim says of it.

use std::borrow::Cow;

use super::lease::{Leased, Outcome};
use super::redis::micros;
use crate::job::{JobId, Priority};
use crate::quota::LaneLimits;

/// Bytes before the trace in a job as it lies in Redis (`job.lua`).
const HEAD_BYTES: usize = 12;

/// What a lane may send, as `quota.lua` reads it. The interval between tokens is rounded up: a little
/// slower is safe.
///
/// - `limits`: checked ([`LaneLimits::check`]), so that lengths and indexes fit a byte, and times seven.
pub(super) fn limits(limits: &LaneLimits) -> Vec<u8> {
    let mut packed = vec![byte(limits.quotas.len())];
    for quota in &limits.quotas {
        let window_us = quota.window.as_micros();
        pack_name(&mut packed, &quota.name);
        packed.extend(quota.limit.to_be_bytes());
        pack_us(&mut packed, window_us);
        pack_us(&mut packed, window_us.div_ceil(u128::from(quota.limit)));
        packed.extend(quota.burst.to_be_bytes());
        packed.extend(quota.headroom.to_be_bytes());
        pack_us(&mut packed, quota.step().map_or(0, |step| step.as_micros()));
    }
    for (kind, limits) in &limits.kinds {
        pack_name(&mut packed, kind);
        packed.extend(limits.batch.to_be_bytes());
        packed.extend(limits.cost.to_be_bytes());
        packed.push(byte(limits.quotas.len()));
        packed.extend(limits.quotas.iter().map(|index| byte(index + 1)));
    }
    packed
}

fn pack_name(packed: &mut Vec<u8>, name: &str) {
    packed.push(byte(name.len()));
    packed.extend(name.as_bytes());
}

fn pack_us(packed: &mut Vec<u8>, us: u128) {
    let bytes = us.to_be_bytes();
    packed.extend(bytes.split_at(bytes.len() - 7).1);
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// A priority, and the trace of whoever asked: 26 bytes at most.
pub(super) fn request(priority: Priority, traceparent: &str) -> Vec<u8> {
    let mut request = vec![priority.number()];
    request.extend(pack_trace(traceparent));
    request
}

/// An outcome as `settle.lua` reads it.
pub(super) fn outcome(outcome: Outcome) -> Cow<'static, str> {
    let name = outcome.name();
    match outcome {
        Outcome::Ack | Outcome::Bury => name.into(),
        Outcome::Again { after, round } => format!("{name} {} {round}", micros(after)).into(),
        Outcome::Nack { after } | Outcome::Defer { after } => {
            format!("{name} {}", micros(after)).into()
        }
    }
}

/// A job as `job.lua` lays it out. `None` when it is too short to be one.
pub(super) fn leased(id: String, packed: &[u8]) -> Option<Leased> {
    let (head, trace) = packed.split_at_checked(HEAD_BYTES)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| (sum << 8) | i64::from(*byte));
    Some(Leased {
        id: JobId::from(id),
        // The one that begins with this claim counts.
        attempt: u32::from(*head.get(1)?) + 1,
        round: *head.get(10)?,
        trace: unpack_trace(trace),
        arrived_us: number(head.get(2..9)?),
    })
}

/// Packs a W3C `traceparent` of version 00, 25 bytes instead of the 55 of its text: trace id, span
/// id, flags. Anything else becomes empty.
fn pack_trace(traceparent: &str) -> Vec<u8> {
    let mut parts = traceparent.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    if (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return Vec::new();
    }
    hex::decode(format!("{trace}{span}{flags}")).unwrap_or_default()
}

/// The text that was packed, or an empty one.
fn unpack_trace(packed: &[u8]) -> String {
    let text = hex::encode(packed);
    match (text.get(..32), text.get(32..48), text.get(48..50)) {
        (Some(trace), Some(span), Some(flags)) if text.len() == 50 => {
            format!("00-{trace}-{span}-{flags}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trace_context_survives_packing() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(pack_trace(text).len(), 25);
        assert_eq!(unpack_trace(&pack_trace(text)), text);
        for bad in ["", "garbage", "01-a-b-c", "00-zz-zz-zz", "00-0af7-b7ad-01"] {
            assert_eq!(unpack_trace(&pack_trace(bad)), "", "{bad:?}");
        }
    }

    #[test]
    fn a_job_is_read_as_the_scripts_lay_it_out() {
        let mut packed = vec![0, 1, 0, 0, 0, 0, 0, 1, 0, 255, 7, 3];
        let job = leased("profile:1".to_owned(), &packed).unwrap();
        assert_eq!((job.attempt, job.round, job.arrived_us), (2, 7, 256));
        assert_eq!(job.trace, "");
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        packed.extend(pack_trace(trace));
        assert_eq!(leased("profile:1".to_owned(), &packed).unwrap().trace, trace);
        assert_eq!(leased("profile:1".to_owned(), &packed[..11]), None);
    }

    #[test]
    fn an_outcome_says_when_and_as_what_it_comes_back() {
        let after = Duration::from_millis(2);
        assert_eq!(outcome(Outcome::Ack), "ack");
        assert_eq!(outcome(Outcome::Bury), "bury");
        assert_eq!(outcome(Outcome::Again { after, round: 3 }), "again 2000 3");
        assert_eq!(outcome(Outcome::Nack { after }), "nack 2000");
        assert_eq!(outcome(Outcome::Defer { after: Duration::ZERO }), "defer 0");
    }
}
