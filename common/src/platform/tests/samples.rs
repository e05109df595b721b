//! What Patreon and Discord give and send, for the contract.

use ed25519_dalek::{Signer, SigningKey};
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

pub(super) fn discord() -> Samples {
    Samples {
        records: vec![
            Record {
                kind: "guild",
                payload: include_str!("../discord/samples/guild.json"),
                volatile: &[
                    "/approximate_member_count",
                    "/approximate_presence_count",
                    "/premium_subscription_count",
                    "/permissions",
                    "/roles/0/color",
                    "/something_new",
                ],
                real: &["/name", "/icon", "/owner_id", "/roles/1/name", "/features/0"],
                unordered: &["/roles", "/emojis", "/stickers", "/features"],
            },
            Record {
                kind: "member",
                payload: include_str!("../discord/samples/guild-member.json"),
                volatile: &["/permissions", "/hoisted_role", "/user/something_new"],
                real: &["/nick", "/roles/0", "/user/username", "/user/avatar", "/pending"],
                unordered: &["/roles"],
            },
            Record {
                kind: "role",
                payload: include_str!("../discord/samples/role.json"),
                volatile: &["/color", "/member_count"],
                real: &["/name", "/permissions", "/position", "/colors/primary_color"],
                unordered: &[],
            },
            Record {
                kind: "entitlement",
                payload: include_str!("../discord/samples/entitlement.json"),
                volatile: &["/something_new"],
                real: &["/deleted", "/consumed", "/starts_at", "/sku_id"],
                unordered: &[],
            },
        ],
        webhook: include_bytes!("../discord/samples/webhook-entitlement-create.json"),
        sign: Some(sign_as_discord),
        unsigned: &[],
        secret: discord_key(),
    }
}

const DISCORD_SEED: [u8; 32] = [7; 32];

/// The public key in hex, which is what a connection has.
pub(crate) fn discord_key() -> String {
    hex::encode(SigningKey::from_bytes(&DISCORD_SEED).verifying_key().as_bytes())
}

/// As the documents describe it: hex Ed25519 over the time header and the body.
pub(crate) fn sign_as_discord(body: &[u8]) -> HeaderMap {
    let time = "1795209245";
    let key = SigningKey::from_bytes(&DISCORD_SEED);
    let signature = key.sign(&[time.as_bytes(), body].concat());
    HeaderMap::from_iter([
        (
            "x-signature-ed25519".parse().unwrap(),
            hex::encode(signature.to_bytes()).parse().unwrap(),
        ),
        ("x-signature-timestamp".parse().unwrap(), time.parse().unwrap()),
    ])
}
