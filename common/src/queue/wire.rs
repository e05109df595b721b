//! The trace context of a job as it lies in Redis: 25 bytes instead of the 55 of its text.

/// Packs a W3C `traceparent` of version 00: trace id, span id, flags. Anything else becomes empty.
pub(super) fn pack_trace(traceparent: &str) -> Vec<u8> {
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
pub(super) fn unpack_trace(packed: &[u8]) -> String {
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
}
