//! Klaviyo's paging: a cursor behind the last item, good for its own list only.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::invalid;
use crate::answer::{Answer, Call};

/// How many items a page has when nobody asks, and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) usual: usize,
    pub(super) most: usize,
}

/// One page, and where its neighbours are.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) links: Value,
}

/// Where a page begins: behind this sort value and id. Callers take it as opaque.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cursor(String, String, bool, String);

/// The address under which the caller reached us.
pub(super) fn origin(call: &Call) -> String {
    call.origin("https://a.klaviyo.com")
}

/// By which of the fields the caller wants the list sorted, and whether backwards.
pub(super) fn sort<'a>(
    call: &'a Call,
    fields: &[&str],
    usual: &'a str,
) -> Result<(&'a str, bool), Answer> {
    let text = call.parameter("sort").unwrap_or(usual);
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    if fields.contains(&name) {
        Ok((name, descending))
    } else {
        Err(invalid("sort", &format!("'{text}' is not an allowed sort field.")))
    }
}

/// The page of the items, each with its sort value and id, that the request asks for.
pub(super) fn cut<T>(
    call: &Call,
    mut items: Vec<(String, String, T)>,
    descending: bool,
    size: Size,
) -> Result<Page<T>, Answer> {
    let size = size_of(call, size)?;
    let order = |a: (&str, &str), b: (&str, &str)| if descending { b.cmp(&a) } else { a.cmp(&b) };
    items.sort_by(|a, b| order((&a.0, &a.1), (&b.0, &b.1)));
    if let Some(text) = call.parameter("page[cursor]") {
        let Cursor(value, id, ..) = read(text, call)?;
        items.retain(|item| order((&item.0, &item.1), (&value, &id)) == Ordering::Greater);
    }
    let more = items.len() > size;
    items.truncate(size);
    let place = format!("{}{}", origin(call), call.path);
    let next = items.last().filter(|_| more).map(|(value, id, _)| {
        let cursor = Cursor(value.clone(), id.clone(), true, bound_to(call));
        let text = URL_SAFE_NO_PAD.encode(json!(cursor).to_string());
        format!("{place}?{}", query(call, Some(&text)))
    });
    let links = json!({
        "self": format!("{place}?{}", query(call, call.parameter("page[cursor]"))),
        "next": next,
        "prev": Value::Null,
    });
    Ok(Page { items: items.into_iter().map(|(_, _, item)| item).collect(), links })
}

fn size_of(call: &Call, Size { usual, most }: Size) -> Result<usize, Answer> {
    let Some(text) = call.parameter("page[size]") else { return Ok(usual) };
    let size = text.parse().ok().filter(|size| (1..=most).contains(size));
    let detail = format!("Page size must be an integer between 1 and {most}.");
    size.ok_or_else(|| invalid("page[size]", &detail))
}

fn read(text: &str, call: &Call) -> Result<Cursor, Answer> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    cursor
        .filter(|cursor| cursor.3 == bound_to(call))
        .ok_or_else(|| invalid("page[cursor]", "Invalid cursor."))
}

/// A cursor leads on in the list for which it was made, and in no other.
fn bound_to(call: &Call) -> String {
    let part = |name| call.parameter(name).unwrap_or_default();
    format!("{}|{}|{}", call.path, part("sort"), part("filter"))
}

/// The request's own parameters with another cursor.
fn query(call: &Call, cursor: Option<&str>) -> String {
    let own = call.query.iter().filter(|(name, _)| name != "page[cursor]");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(own);
    query.extend_pairs(cursor.map(|cursor| ("page[cursor]", cursor)));
    query.finish()
}
