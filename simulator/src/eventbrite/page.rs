//! Paging by continuation token, with a token on the last page too.

use std::cmp::Ordering;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::expand::Expansions;
use super::{bad_argument, error, shown};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::record::{RecordId, RecordType, Version};

/// The page size by default, and the largest.
const SIZE: usize = 50;

/// A record at its place in a list: the sort key, then the id.
pub(super) struct Placed {
    pub(super) key: String,
    pub(super) id: RecordId,
    pub(super) version: Arc<Version>,
}

impl Placed {
    fn position(&self) -> (&str, &str) {
        (&self.key, self.id.own())
    }
}

/// Where a page begins: behind this key and id. Callers take it as opaque.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    page: usize,
    after: Option<(String, String)>,
    /// The other parameters of the list for which it was made.
    of: String,
}

/// The page of `items` that the request asks for, under the name of the list.
pub(super) fn answer(
    account: &Account,
    call: &Call,
    name: &str,
    mut items: Vec<Placed>,
    descending: bool,
    asked: Asked,
) -> Result<Answer, Answer> {
    let record_type = match name {
        "events" => RecordType::Event,
        "attendees" => RecordType::Attendee,
        _ => RecordType::Order,
    };
    let expansions = Expansions::of(account, call, record_type)?;
    let size = match call.parameter("page_size").map(str::parse::<usize>) {
        None => SIZE,
        Some(Ok(size)) if (1..=SIZE).contains(&size) => size,
        Some(_) => return Err(bad_argument("page_size")),
    };
    let order = |a: (&str, &str), b: (&str, &str)| if descending { b.cmp(&a) } else { a.cmp(&b) };
    items.sort_by(|a, b| order(a.position(), b.position()));
    let total = items.len();

    let mut token = match (call.parameter("continuation"), call.parameter("page")) {
        (Some(text), _) => read(text, call)?,
        (None, Some(text)) => numbered(text, size, total, &items, call)?,
        (None, None) => Token { page: 1, after: None, of: bound_to(call) },
    };
    if let Some((key, id)) = &token.after {
        items.retain(|item| order(item.position(), (key, id)) == Ordering::Greater);
    }
    let more = items.len() > size;
    items.truncate(size);

    let page_number = token.page;
    if let Some(last) = items.last() {
        token.after = Some((last.key.clone(), last.id.own().to_owned()));
        token.page += 1;
    }
    let continuation = URL_SAFE_NO_PAD.encode(json!(token).to_string());
    let mut pagination = json!({
        "page_number": page_number, "page_size": size,
        "continuation": continuation, "has_more_items": more,
    });
    // Both are optional.
    if account.looks.lock().happens(0.5)
        && let Some(pagination) = pagination.as_object_mut()
    {
        pagination.insert("object_count".to_owned(), json!(total));
        pagination.insert("page_count".to_owned(), json!(total.div_ceil(size)));
    }
    let shown: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut record = shown::record(account, &item.id, &item.version);
            expansions.fill(account, &item.id, &mut record);
            record
        })
        .collect();
    let mut body = json!({ "pagination": pagination });
    if let Some(body) = body.as_object_mut() {
        body.insert(name.to_owned(), Value::Array(shown));
    }
    let ids = items.into_iter().map(|item| item.id);
    let answer = Answer::ok(body);
    // A filter by ids counts for the ids that were asked for, found or not; see `lists`.
    Ok(if asked == Asked::InPage { answer.about(ids, asked) } else { answer })
}

fn read(text: &str, call: &Call) -> Result<Token, Answer> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let token = bytes.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
    token
        .filter(|token| token.of == bound_to(call))
        .ok_or_else(|| error(400, "BAD_CONTINUATION_TOKEN", "The continuation token is invalid."))
}

/// A page by its number; `items` are in order.
fn numbered(
    text: &str,
    size: usize,
    total: usize,
    items: &[Placed],
    call: &Call,
) -> Result<Token, Answer> {
    let pages = total.div_ceil(size).max(1);
    let page = text.parse().ok().filter(|page| (1..=pages).contains(page));
    let page: usize = page.ok_or_else(|| error(400, "BAD_PAGE", "The page does not exist."))?;
    let before = (page - 1).checked_mul(size).and_then(|skip| skip.checked_sub(1));
    let after = before.and_then(|last| items.get(last)).map(|item| {
        let (key, id) = item.position();
        (key.to_owned(), id.to_owned())
    });
    Ok(Token { page, after, of: bound_to(call) })
}

/// A token leads on in the call for which it was made: the same path and parameters.
fn bound_to(call: &Call) -> String {
    let own = call.query.iter().filter(|(name, _)| name != "continuation" && name != "token");
    let mut parameters: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    parameters.sort();
    format!("{}?{}", call.path, parameters.join("&"))
}
