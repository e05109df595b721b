//! Patreon's paging: an opaque cursor that may run out, and one that may never end.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{bad_cursor, bad_parameter};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::now;

/// The parameters of paging.
pub(super) const PARAMETERS: [&str; 2] = ["page[cursor]", "page[count]"];

/// Where a page begins: behind this id. Callers take it as opaque.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    of: String,
    after: Option<String>,
    made: Timestamp,
    /// Makes each cursor a new one, the endless one too.
    nonce: u64,
}

/// The page of `items`, in order of their ids, that the request asks for; and `meta`.
pub(super) fn cut<T>(
    account: &Account,
    call: &Call,
    items: Vec<(String, T)>,
    (usual, most): (usize, usize),
) -> Result<(Vec<T>, Value), Answer> {
    let size = match call.parameter("page[count]").map(str::parse::<usize>) {
        None => usual.min(most),
        Some(Ok(size)) if (1..=most).contains(&size) => size,
        Some(_) => {
            let title = format!("A page has between 1 and {most} items.");
            return Err(bad_parameter("page[count]", &title));
        }
    };
    let switches = account.switches.lock().clone();
    let after = match call.parameter("page[cursor]") {
        Some(text) => read(call, text, switches.cursors_expire_after_ms)?,
        None => None,
    };
    let total = items.len();
    let mut rest: Vec<(String, T)> =
        items.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id > after)).collect();
    let more = rest.len() > size;
    rest.truncate(size);
    let next = if more { rest.last().map(|(id, _)| Some(id.clone())) } else { None };
    // The trap: the last page leads to itself, again and again.
    let next = next.or_else(|| switches.endless_cursor.then_some(after));
    let next = next.map(|after| {
        let nonce = account.looks.lock().number(0, u64::MAX);
        let cursor = Cursor { of: call.path.clone(), after, made: now(), nonce };
        URL_SAFE_NO_PAD.encode(json!(cursor).to_string())
    });
    let meta = json!({ "pagination": { "cursors": { "next": next }, "total": total } });
    Ok((rest.into_iter().map(|(_, item)| item).collect(), meta))
}

fn read(call: &Call, text: &str, lifetime_ms: Option<u64>) -> Result<Option<String>, Answer> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    let good = cursor.filter(|cursor| cursor.of == call.path).filter(|cursor| {
        let age = Duration::try_from(now().duration_since(cursor.made)).unwrap_or_default();
        lifetime_ms.is_none_or(|most| age < Duration::from_millis(most))
    });
    good.map(|cursor| cursor.after).ok_or_else(bad_cursor)
}
