//! Campaigns, members and tiers: what is asked for, and what of it counts.
//!
//! Nothing comes that is not named, so these lists belong to the schema version. Each is the same
//! for one record and for a list, or a record would look different by the way it came.

use crate::drift::{Field, Shape};
use crate::ids::ExternalId;
use crate::platform::RecordKind;

pub(super) const CAMPAIGN: &str = "campaign";
pub(super) const MEMBER: &str = "member";
pub(super) const TIER: &str = "tier";

pub(super) static KINDS: [RecordKind; 3] = [
    RecordKind {
        name: CAMPAIGN,
        schema_version: 2,
        batch: 1,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape: &CAMPAIGN_SHAPE,
    },
    RecordKind {
        name: MEMBER,
        schema_version: 1,
        batch: 1,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape: &MEMBER_SHAPE,
    },
    // All tiers of a campaign come with it.
    RecordKind {
        name: TIER,
        schema_version: 1,
        batch: 100,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape: &TIER_SHAPE,
    },
];

/// For campaigns and for tiers, which only come with their campaign.
pub(super) const CAMPAIGN_QUERY: [(&str, &str); 3] = [
    (
        "fields[campaign]",
        "created_at,creation_name,discord_server_id,google_analytics_id,has_rss,\
         has_sent_rss_notify,image_small_url,image_url,is_charged_immediately,is_monthly,is_nsfw,\
         main_video_embed,main_video_url,one_liner,pay_per_name,pledge_url,published_at,\
         rss_artwork_url,rss_feed_title,show_earnings,summary,thanks_embed,thanks_msg,thanks_video_url,url,vanity",
    ),
    (
        "fields[tier]",
        "amount_cents,created_at,description,discord_role_ids,edited_at,image_url,published,\
         published_at,requires_shipping,title,unpublished_at,url,user_limit",
    ),
    ("include", "benefits,creator,tiers"),
];

pub(super) const MEMBER_QUERY: [(&str, &str); 2] = [
    (
        "fields[member]",
        "campaign_lifetime_support_cents,currently_entitled_amount_cents,email,full_name,\
         is_follower,is_free_trial,is_gifted,last_charge_date,last_charge_status,\
         lifetime_support_cents,next_charge_date,note,patron_status,pledge_cadence,\
         pledge_relationship_start,will_pay_amount_cents",
    ),
    ("include", "campaign,currently_entitled_tiers,user"),
];

/// Of the media links only the path counts: their signature is another one at each read.
const fn media(name: &'static str) -> Field {
    Field::of(name, Shape::UrlPath)
}

const ID: Shape = Shape::Object(&[Field::whole("id")]);

/// A relationship to one other record: which one. What is in that record counts for itself alone,
/// or a tier's new name would change every member.
const ONE: Shape = Shape::Object(&[Field::of("data", ID)]);

/// A relationship to several, in no promised order.
const MANY: Shape =
    Shape::Object(&[Field::of("data", Shape::NumberedSet { of: &ID, by: Some("id") })]);

/// Without `patron_count`, which moves with every member.
static CAMPAIGN_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[
            Field::instant("created_at"),
            Field::whole("creation_name"),
            Field::whole("discord_server_id"),
            Field::whole("google_analytics_id"),
            Field::whole("has_rss"),
            Field::whole("has_sent_rss_notify"),
            media("image_small_url"),
            media("image_url"),
            Field::whole("is_charged_immediately"),
            Field::whole("is_monthly"),
            Field::whole("is_nsfw"),
            Field::whole("main_video_embed"),
            Field::whole("main_video_url"),
            Field::whole("one_liner"),
            Field::whole("pay_per_name"),
            Field::whole("pledge_url"),
            Field::instant("published_at"),
            media("rss_artwork_url"),
            Field::whole("rss_feed_title"),
            Field::whole("show_earnings"),
            Field::whole("summary"),
            Field::whole("thanks_embed"),
            Field::whole("thanks_msg"),
            Field::whole("thanks_video_url"),
            Field::whole("url"),
            Field::whole("vanity"),
        ],
    ),
    Field::object(
        "relationships",
        &[Field::of("benefits", MANY), Field::of("creator", ONE), Field::of("tiers", MANY)],
    ),
]);

/// `patron_status` is null, and so as good as absent, for who never pledged; an empty `note` is
/// not.
static MEMBER_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[
            Field::whole("campaign_lifetime_support_cents"),
            Field::whole("currently_entitled_amount_cents"),
            Field::whole("email"),
            Field::whole("full_name"),
            Field::whole("is_follower"),
            Field::whole("is_free_trial"),
            Field::whole("is_gifted"),
            Field::instant("last_charge_date"),
            Field::whole("last_charge_status"),
            Field::whole("lifetime_support_cents"),
            Field::instant("next_charge_date"),
            Field::whole("note"),
            Field::whole("patron_status"),
            Field::whole("pledge_cadence"),
            Field::instant("pledge_relationship_start"),
            Field::whole("will_pay_amount_cents"),
        ],
    ),
    Field::object(
        "relationships",
        &[
            Field::of("campaign", ONE),
            Field::of("currently_entitled_tiers", MANY),
            Field::of("user", ONE),
        ],
    ),
]);

/// Without `patron_count`, `remaining` and `post_count`, which move with members and posts, and
/// without `edited_at`, which is the version and may move alone.
static TIER_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object(
        "attributes",
        &[
            Field::whole("amount_cents"),
            Field::instant("created_at"),
            Field::whole("description"),
            Field::of("discord_role_ids", Shape::NumberedSet { of: &Shape::Whole, by: None }),
            media("image_url"),
            Field::whole("published"),
            Field::instant("published_at"),
            Field::whole("requires_shipping"),
            Field::whole("title"),
            Field::instant("unpublished_at"),
            Field::whole("url"),
            Field::whole("user_limit"),
        ],
    ),
]);

/// Whether a text can be an id that Patreon gave: a number, or a UUID for members.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// A tier's id: its campaign's and its own, since it cannot be read by its own alone.
pub(super) fn tier_id(campaign: &str, tier: &str) -> ExternalId {
    ExternalId::new(format!("{campaign}/{tier}"))
}

/// The two parts of a tier's id.
pub(super) fn tier_parts(id: &ExternalId) -> Option<(&str, &str)> {
    id.as_str().split_once('/').filter(|(campaign, tier)| is_id(campaign) && is_id(tier))
}
