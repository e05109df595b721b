//! Guilds, members, roles and entitlements: what counts of them.
//!
//! Every list is one of fields, since objects carry keys that no document names. Avatars, banners
//! and icons are hashes already, and are taken as they are. Payloads of the gateway leave out
//! other fields and must never be compared with these.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::drift::{Field, Shape};
use crate::ids::ExternalId;
use crate::platform::discord::snowflake::Snowflake;
use crate::platform::discord::unknown::unknown_keys;
use crate::platform::{Look, PlatformError, RecordKind};

pub(super) const GUILD: &str = "guild";
pub(super) const MEMBER: &str = "member";
pub(super) const ROLE: &str = "role";
pub(super) const ENTITLEMENT: &str = "entitlement";

pub(super) static KINDS: [RecordKind; 4] = [
    kind(GUILD, 1, &GUILD_SHAPE),
    kind(MEMBER, 1, &MEMBER_SHAPE),
    // All roles of a guild come in one list.
    kind(ROLE, 100, &ROLE_SHAPE),
    kind(ENTITLEMENT, 1, &ENTITLEMENT_SHAPE),
];

const fn kind(name: &'static str, batch: u32, shape: &'static Shape) -> RecordKind {
    RecordKind {
        name,
        schema_version: 1,
        batch,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape,
    }
}

/// Ids in no promised order.
const IDS: Shape = Shape::NumberedSet { of: &Shape::Whole, by: None };

/// Without `color`, the deprecated twin of `colors.primary_color`, and without member counts.
///
/// Its `permissions` are what a role is; it is in guilds and members that a field of this name
/// only comes in some contexts.
static ROLE_SHAPE: Shape = ROLE_FIELDS;

const ROLE_FIELDS: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::whole("name"),
    Field::object(
        "colors",
        &[
            Field::whole("primary_color"),
            Field::whole("secondary_color"),
            Field::whole("tertiary_color"),
        ],
    ),
    Field::whole("hoist"),
    Field::whole("icon"),
    Field::whole("unicode_emoji"),
    Field::whole("position"),
    Field::whole("permissions"),
    Field::whole("managed"),
    Field::whole("mentionable"),
    Field::whole("flags"),
    // A tag that is there with null is true, one that is absent is false.
    Field::of(
        "tags",
        Shape::Marks(&[
            Field::whole("bot_id"),
            Field::whole("integration_id"),
            Field::whole("premium_subscriber"),
            Field::whole("subscription_listing_id"),
            Field::whole("available_for_purchase"),
            Field::whole("guild_connections"),
        ]),
    ),
]);

/// Without `approximate_member_count`, `approximate_presence_count` and
/// `premium_subscription_count`, which count, and without `owner` and `permissions`, which only
/// come in some contexts.
static GUILD_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::whole("name"),
    Field::whole("icon"),
    Field::whole("description"),
    Field::whole("splash"),
    Field::whole("discovery_splash"),
    Field::whole("owner_id"),
    Field::whole("afk_channel_id"),
    Field::whole("afk_timeout"),
    Field::whole("widget_enabled"),
    Field::whole("widget_channel_id"),
    Field::whole("verification_level"),
    Field::whole("default_message_notifications"),
    Field::whole("explicit_content_filter"),
    Field::of("roles", Shape::NumberedSet { of: &ROLE_FIELDS, by: Some("id") }),
    Field::of(
        "emojis",
        Shape::NumberedSet {
            of: &Shape::Object(&[
                Field::whole("id"),
                Field::whole("name"),
                Field::of("roles", IDS),
                Field::whole("require_colons"),
                Field::whole("managed"),
                Field::whole("animated"),
                Field::whole("available"),
            ]),
            by: Some("id"),
        },
    ),
    Field::of("features", Shape::Set { of: &Shape::Whole, by: None }),
    Field::whole("mfa_level"),
    Field::whole("application_id"),
    Field::whole("system_channel_id"),
    Field::whole("system_channel_flags"),
    Field::whole("rules_channel_id"),
    Field::whole("max_members"),
    Field::whole("max_video_channel_users"),
    Field::whole("max_stage_video_channel_users"),
    Field::whole("vanity_url_code"),
    Field::whole("banner"),
    Field::whole("premium_tier"),
    Field::whole("preferred_locale"),
    Field::whole("public_updates_channel_id"),
    Field::whole("nsfw_level"),
    Field::of(
        "stickers",
        Shape::NumberedSet {
            of: &Shape::Object(&[
                Field::whole("id"),
                Field::whole("name"),
                Field::whole("description"),
                Field::whole("tags"),
                Field::whole("type"),
                Field::whole("format_type"),
                Field::whole("available"),
                Field::whole("guild_id"),
            ]),
            by: Some("id"),
        },
    ),
    Field::whole("premium_progress_bar_enabled"),
    Field::whole("safety_alerts_channel_id"),
    Field::object(
        "incidents_data",
        &[
            Field::of("invites_disabled_until", Shape::Until),
            Field::of("dms_disabled_until", Shape::Until),
            Field::instant("dm_spam_detected_at"),
            Field::instant("raid_detected_at"),
        ],
    ),
]);

const DECORATION: Field =
    Field::object("avatar_decoration_data", &[Field::whole("asset"), Field::whole("sku_id")]);

const COLLECTIBLES: Field = Field::object(
    "collectibles",
    &[Field::object(
        "nameplate",
        &[
            Field::whole("sku_id"),
            Field::whole("asset"),
            Field::whole("label"),
            Field::whole("palette"),
        ],
    )],
);

/// With the user, who has no other place in the mirror: a new name of theirs changes their
/// membership in every guild. Without `permissions`, which only come in some contexts.
static MEMBER_SHAPE: Shape = Shape::Object(&[
    Field::object(
        "user",
        &[
            Field::whole("id"),
            Field::whole("username"),
            Field::whole("global_name"),
            Field::whole("discriminator"),
            Field::whole("avatar"),
            Field::whole("bot"),
            Field::whole("system"),
            Field::whole("public_flags"),
            Field::whole("banner"),
            Field::whole("accent_color"),
            DECORATION,
            COLLECTIBLES,
            Field::object(
                "primary_guild",
                &[
                    Field::whole("identity_guild_id"),
                    Field::whole("identity_enabled"),
                    Field::whole("tag"),
                    Field::whole("badge"),
                ],
            ),
        ],
    ),
    Field::whole("nick"),
    Field::whole("avatar"),
    Field::whole("banner"),
    Field::of("roles", IDS),
    Field::instant("joined_at"),
    Field::instant("premium_since"),
    Field::whole("deaf"),
    Field::whole("mute"),
    Field::whole("flags"),
    Field::whole("pending"),
    // Documented to be null or past when there is none.
    Field::of("communication_disabled_until", Shape::Until),
    DECORATION,
    COLLECTIBLES,
]);

/// A deleted entitlement stays a record: `deleted` is data. One that ends is not deleted.
static ENTITLEMENT_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::whole("sku_id"),
    Field::whole("application_id"),
    Field::whole("user_id"),
    Field::whole("guild_id"),
    Field::whole("type"),
    Field::whole("deleted"),
    Field::instant("starts_at"),
    Field::instant("ends_at"),
    Field::whole("consumed"),
    Field::whole("gift_code_flags"),
    Field::whole("promotion_id"),
]);

/// The id of a member or a role: its guild's and its own.
pub(super) fn in_guild(guild: Snowflake, id: Snowflake) -> ExternalId {
    ExternalId::new(format!("{guild}/{id}"))
}

/// The two parts of such an id.
pub(super) fn parts(id: &ExternalId) -> Option<(Snowflake, Snowflake)> {
    let (guild, id) = id.as_str().split_once('/')?;
    Some((Snowflake::parse(guild)?, Snowflake::parse(id)?))
}

/// What the adapter itself needs of a record: a member has no id but its user's.
#[derive(Deserialize)]
struct Head {
    id: Option<Snowflake>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    id: Snowflake,
}

/// A record that was read, and its own id, without its guild's.
pub(super) struct Read {
    pub(super) id: Snowflake,
    pub(super) look: Look,
    /// Keys that no document names.
    pub(super) unknown_keys: u64,
}

/// Reads one record of any kind: found, or unclear when it has no canonical form.
///
/// - `guild`: whose member or role it is.
/// - `now`: by Discord's clock, before all times where it does not tell.
pub(super) fn read(
    kind: &RecordKind,
    guild: Option<Snowflake>,
    payload: &RawValue,
    now: Timestamp,
) -> Result<Read, PlatformError> {
    let nameless = || PlatformError::Unexpected { what: format!("a {} without an id", kind.name) };
    let head: Head = serde_json::from_str(payload.get()).map_err(|_| nameless())?;
    let id = match kind.name {
        MEMBER => head.user.map(|user| user.id),
        _ => head.id,
    };
    let id = id.ok_or_else(nameless)?;
    let external_id =
        guild.map_or_else(|| ExternalId::new(id.to_string()), |guild| in_guild(guild, id));
    let look = match kind.snapshot_at(external_id.clone(), payload, None, now) {
        Ok(snapshot) => Look::Found(snapshot),
        Err(error) => Look::unclear(&external_id, error.to_string()),
    };
    Ok(Read { id, look, unknown_keys: unknown_keys(kind, payload) })
}
