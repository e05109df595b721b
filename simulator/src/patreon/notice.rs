//! Patreon's webhooks: a document about the member, signed with HMAC-MD5 and not dated.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::Wanted;
use super::shown::Document;
use crate::account::Account;
use crate::hook::Hook;
use crate::json::put;
use crate::notice::{Delivery, Dispatch};
use crate::record::{RecordId, RecordType, Version};
use crate::sign::hmac_md5;
use crate::universe::Universe;

/// The document about a record as Patreon chooses to show it; nobody's `fields[...]` count here.
pub(crate) fn document(
    account: &Account,
    universe: &Universe,
    id: &RecordId,
    version: &Version,
) -> Arc<str> {
    if id.record_type != RecordType::Member {
        return Arc::from("");
    }
    let wanted = Wanted::all(
        &["member", "tier", "user", "campaign"],
        &["address", "campaign", "currently_entitled_tiers", "user"],
    );
    let mut document = Document::new(account, &universe.records, &wanted);
    let data: Value = document.member(id, version);
    let mut body = document.around(&data);
    let origin = "https://www.patreon.com/api/oauth2/v2";
    let link = format!("{origin}/members/{}", id.external_id);
    put(&mut body, "links", json!({ "self": link }));
    Arc::from(body.to_string())
}

/// The request; no id and no time distinguish it from the same one sent again.
pub(crate) fn delivery(hook: &Hook, dispatch: &Dispatch) -> Delivery {
    let body = dispatch.notice.payload.to_string();
    let signature = hmac_md5(hook.secret.0.as_bytes(), &[&body]);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", "Patreon HTTP Robot".to_owned()),
        ("x-patreon-event", dispatch.notice.action.to_owned()),
        ("x-patreon-signature", signature),
    ];
    Delivery { headers, body }
}
