//! What users have bought from the application.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{flag, no_stray, number, numeric, snowflake, unknown};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::record::{RecordId, RecordType};

/// `GET /applications/{id}/entitlements`: without the deleted ones unless they are asked for.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    let known = [
        "user_id",
        "sku_ids",
        "before",
        "after",
        "limit",
        "guild_id",
        "exclude_ended",
        "exclude_deleted",
    ];
    no_stray(call, &known)?;
    let (before, after) = (snowflake(call, "before")?, snowflake(call, "after")?);
    let limit = usize::try_from(number(call, "limit", 100, 1, 100)?).unwrap_or(100);
    let without_ended = flag(call, "exclude_ended", false)?;
    let without_deleted = flag(call, "exclude_deleted", true)?;
    let (user, guild) = (snowflake(call, "user_id")?, snowflake(call, "guild_id")?);
    let skus: Option<Vec<&str>> = call.parameter("sku_ids").map(|text| text.split(',').collect());
    let mut found =
        account.universe.lock().records.seen_all(RecordType::Entitlement, Instant::now());
    found.retain(|(id, version)| {
        let number = numeric(id);
        before.is_none_or(|before| number < before)
            && after.is_none_or(|after| number > after)
            && !(without_deleted && version.fields.get("deleted") == Some(&json!(true)))
            && (!without_ended || version.text("ends_at").is_empty())
            && user.is_none_or(|user| version.text("user_id") == user.to_string())
            // Nothing here is bought for a guild.
            && guild.is_none()
            && skus.as_ref().is_none_or(|skus| skus.contains(&version.text("sku_id")))
    });
    found.sort_by_key(|(id, _)| numeric(id));
    if before.is_some() && after.is_none() {
        // The page that ends before it.
        found.drain(..found.len().saturating_sub(limit));
    }
    found.truncate(limit);
    let shown: Value =
        found.iter().map(|(_, version)| Value::Object(version.fields.clone())).collect();
    Ok(Answer::ok(shown).about(found.into_iter().map(|(id, _)| id), Asked::InPage))
}

/// `GET /applications/{id}/entitlements/{id}`: the deleted ones too.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let id = RecordId::new(RecordType::Entitlement, id);
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    match seen {
        Some(version) => {
            Ok(Answer::ok(Value::Object(version.fields.clone())).about([id], Asked::Alone))
        }
        None => Err(unknown(10_029, "Entitlement", Some(id))),
    }
}
