//! The trace context as it travels: in jobs, in headers, in the W3C form `traceparent`.

use std::collections::HashMap;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// A `traceparent` of version 00 has 55 bytes; later versions may be longer.
const LONGEST_TRACEPARENT: usize = 128;

/// The `traceparent` of the span that is entered, or an empty text when it is not traced.
///
/// Source: W3C Trace Context, section 3.2.
pub fn current_traceparent() -> String {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// The `traceparent` that a request came with, or an empty text.
pub fn traceparent_of(headers: &HeaderMap) -> &str {
    headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() <= LONGEST_TRACEPARENT)
        .unwrap_or_default()
}

/// Makes `span` a child of the span that `traceparent` names. Does nothing when that is empty or
/// wrong, or when `span` was entered before.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // An error says that the span is not traced, or has begun; either way it has no parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Links `span` to the span that `traceparent` names: for work that is done later, perhaps more
/// than once, and for several askers at once.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(asker) = parse(traceparent) {
        span.add_link(asker);
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    if traceparent.is_empty() {
        return None;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        assert!(parse(good).is_some());
        for bad in ["", "00", zero, &good[..52], &good.to_uppercase()] {
            assert!(parse(bad).is_none(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_header_that_is_too_long_is_not_looked_at() {
        let mut headers = HeaderMap::new();
        assert_eq!(traceparent_of(&headers), "");
        headers.insert(TRACEPARENT, "00-a-b-01".parse().unwrap());
        assert_eq!(traceparent_of(&headers), "00-a-b-01");
        headers.insert(TRACEPARENT, "0".repeat(200).parse().unwrap());
        assert_eq!(traceparent_of(&headers), "");
    }

    #[test]
    fn what_is_not_traced_has_no_context() {
        assert_eq!(current_traceparent(), "");
    }
}
