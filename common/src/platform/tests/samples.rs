//! What Patreon gives and sends, for the contract.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use md5::Md5;

use crate::platform::tests::SECRET;
use crate::platform::tests::contract::{Record, Samples};

pub(super) fn patreon() -> Samples {
    Samples {
        records: vec![
            Record {
                kind: "campaign",
                payload: include_str!("../patreon/samples/campaign.json"),
                volatile: &["/attributes/patron_count", "/relationships/tiers/links"],
                real: &[
                    "/attributes/summary",
                    "/attributes/is_monthly",
                    "/attributes/image_url",
                    "/relationships/tiers/data/0/id",
                ],
                unordered: &["/relationships/tiers/data", "/relationships/benefits/data"],
            },
            Record {
                kind: "member",
                payload: include_str!("../patreon/samples/member.json"),
                volatile: &[
                    "/relationships/user/links/related",
                    "/relationships/pledge_history",
                    "/attributes/something_new",
                ],
                real: &[
                    "/attributes/patron_status",
                    "/attributes/note",
                    "/attributes/currently_entitled_amount_cents",
                    "/relationships/currently_entitled_tiers/data/0/id",
                    "/relationships/user/data/id",
                ],
                unordered: &["/relationships/currently_entitled_tiers/data"],
            },
            Record {
                kind: "tier",
                payload: include_str!("../patreon/samples/campaign.json"),
                volatile: &[
                    "/attributes/patron_count",
                    "/attributes/remaining",
                    "/attributes/post_count",
                    "/attributes/edited_at",
                ],
                real: &[
                    "/attributes/title",
                    "/attributes/amount_cents",
                    "/attributes/discord_role_ids/0",
                ],
                unordered: &["/attributes/discord_role_ids"],
            },
        ],
        webhook: include_bytes!("../patreon/samples/webhook-members-update.json"),
        sign: Some(sign_as_patreon),
        unsigned: &["x-patreon-event"],
        secret: SECRET.to_owned(),
    }
}

/// As the documents describe it: lowercase hex HMAC-MD5 over the body.
pub(crate) fn sign_as_patreon(body: &[u8]) -> HeaderMap {
    let mut mac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let signature = hex::encode(mac.finalize().into_bytes());
    HeaderMap::from_iter([
        ("x-patreon-signature".parse().unwrap(), signature.parse().unwrap()),
        ("x-patreon-event".parse().unwrap(), "members:update".parse().unwrap()),
    ])
}
