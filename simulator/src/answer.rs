//! A request as the platforms look at it, and what they answer.

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use url::form_urlencoded;

use crate::record::RecordId;

/// A request, taken apart. Not `Debug`: its headers hold credentials.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it came, percent-encoding and all.
    pub(crate) path: String,
    /// Decoded names and values in the order in which they came.
    pub(crate) query: Vec<(String, String)>,
    /// The query as it came.
    pub(crate) raw_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether an endpoint that the call names answered a test of it, if there was one (Discord).
    pub(crate) endpoint_answers: Option<bool>,
}

impl Call {
    pub(crate) fn new(
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            raw_query: query.to_owned(),
            headers,
            body,
            endpoint_answers: None,
        }
    }

    /// A header's text, if it has one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first query parameter that is not among `known`, or that comes twice.
    pub(crate) fn stray_parameter(&self, known: &[&str]) -> Option<&str> {
        self.query.iter().enumerate().find_map(|(index, (key, _))| {
            let twice = self.query.iter().take(index).any(|(earlier, _)| earlier == key);
            (twice || !known.contains(&key.as_str())).then_some(key.as_str())
        })
    }

    /// The address under which the caller reached us.
    pub(crate) fn origin(&self, otherwise: &str) -> String {
        self.header("host").map_or_else(|| otherwise.to_owned(), |host| format!("http://{host}"))
    }
}

/// How a request asked for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By its own path.
    Alone,
    /// By id, with others, in a filter.
    ByFilter,
    /// It stood in a page of a list.
    InPage,
}

/// What a platform answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Nothing is sent for [`Value::Null`].
    pub(crate) body: Value,
    /// A page in HTML in the body's place.
    pub(crate) page: Option<&'static str>,
    /// Which records it was about.
    pub(crate) records: Vec<(RecordId, Asked)>,
}

impl Answer {
    /// 200 with that body.
    pub(crate) fn ok(body: Value) -> Self {
        Self::error(StatusCode::OK, body)
    }

    /// Any status with that body.
    pub(crate) fn error(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, page: None, records: Vec::new() }
    }

    /// Names the records it was about.
    pub(crate) fn about(mut self, ids: impl IntoIterator<Item = RecordId>, asked: Asked) -> Self {
        self.records.extend(ids.into_iter().map(|id| (id, asked)));
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}
