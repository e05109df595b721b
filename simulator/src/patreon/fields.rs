//! What a request asks for by `fields[...]` and `include`; all else is left out of the answer.

use std::collections::BTreeMap;

use super::bad_parameter;
use crate::answer::{Answer, Call};

/// The attributes of each type of resource.
const ATTRIBUTES: &[(&str, &str)] = &[
    (
        "campaign",
        "created_at creation_name discord_server_id google_analytics_id has_rss \
         has_sent_rss_notify image_small_url image_url is_charged_immediately is_monthly is_nsfw \
         main_video_embed main_video_url one_liner patron_count pay_per_name pledge_url \
         published_at rss_artwork_url rss_feed_title show_earnings summary thanks_embed thanks_msg \
         thanks_video_url url vanity",
    ),
    (
        "member",
        "campaign_lifetime_support_cents currently_entitled_amount_cents email full_name \
         is_follower is_free_trial is_gifted last_charge_date last_charge_status \
         lifetime_support_cents next_charge_date note patron_status pledge_cadence \
         pledge_relationship_start will_pay_amount_cents",
    ),
    (
        "tier",
        "amount_cents created_at description discord_role_ids edited_at image_url patron_count \
         post_count published published_at remaining requires_shipping title unpublished_at url \
         user_limit",
    ),
    (
        "user",
        "about can_see_nsfw created email first_name full_name hide_pledges image_url is_creator \
         is_email_verified last_name like_count social_connections thumb_url url vanity",
    ),
    ("address", "addressee city country created_at line_1 line_2 phone_number postal_code state"),
    (
        "pledge-event",
        "amount_cents currency_code date payment_status pledge_payment_status tier_id tier_title \
         type",
    ),
    ("webhook", "last_attempted_at num_consecutive_times_failed paused secret triggers uri"),
    ("benefit", "title description benefit_type tiers_count"),
    ("goal", "amount_cents title description"),
    ("client", "name description"),
];

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    fields: BTreeMap<String, Vec<String>>,
    include: Vec<String>,
}

impl Wanted {
    /// Reads `fields[...]` and `include`; refuses what the documents do not have, and every
    /// parameter that is not in `others`.
    pub(super) fn of(call: &Call, includes: &[&str], others: &[&str]) -> Result<Self, Answer> {
        let mut known: Vec<String> =
            ATTRIBUTES.iter().map(|(name, _)| format!("fields[{name}]")).collect();
        known.extend(others.iter().map(|&name| name.to_owned()));
        known.push("include".to_owned());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if let Some(stray) = call.stray_parameter(&known) {
            return Err(bad_parameter(stray, &format!("Unknown parameter '{stray}'.")));
        }
        let mut wanted = Self::default();
        for (name, attributes) in ATTRIBUTES {
            let parameter = format!("fields[{name}]");
            let Some(text) = call.parameter(&parameter) else { continue };
            let all: Vec<&str> = attributes.split_whitespace().collect();
            let names: Vec<String> =
                text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
            if let Some(wrong) = names.iter().find(|one| !all.contains(&one.as_str())) {
                return Err(bad_parameter(&parameter, &format!("'{wrong}' is no field of it.")));
            }
            wanted.fields.insert((*name).to_owned(), names);
        }
        let include = call.parameter("include").unwrap_or_default();
        for name in include.split(',').filter(|one| !one.is_empty()) {
            if !includes.contains(&name) {
                return Err(bad_parameter("include", &format!("'{name}' cannot be included.")));
            }
            wanted.include.push(name.to_owned());
        }
        Ok(wanted)
    }

    /// All attributes of these types, and these relationships.
    pub(super) fn all(types: &[&str], include: &[&str]) -> Self {
        let of_types = ATTRIBUTES.iter().filter(|(name, _)| types.contains(name));
        let fields = of_types.map(|(name, attributes)| {
            let names = attributes.split_whitespace().map(str::to_owned).collect();
            ((*name).to_owned(), names)
        });
        let include = include.iter().map(|&name| name.to_owned()).collect();
        Self { fields: fields.collect(), include }
    }

    /// Whether that relationship is to be included.
    pub(super) fn includes(&self, name: &str) -> bool {
        self.include.iter().any(|one| one == name)
    }

    /// Whether any relationship is.
    pub(super) fn includes_any(&self) -> bool {
        !self.include.is_empty()
    }

    /// The attributes of a type that are named; none unless they are.
    pub(super) fn fields(&self, resource: &str) -> &[String] {
        self.fields.get(resource).map(Vec::as_slice).unwrap_or_default()
    }
}
