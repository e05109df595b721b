//! How resources look in an answer: the same content never quite the same twice.

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};

use super::fields::Wanted;
use super::lacks;
use crate::account::Account;
use crate::chance::Chance;
use crate::clock::{now, with_millis, with_offset};
use crate::content::patreon::attribute;
use crate::json::{member, put};
use crate::record::{RecordId, RecordType, Version};
use crate::records::Records;

/// Builds the documents of one answer: resources, and those that they include.
pub(super) struct Document<'a> {
    account: &'a Account,
    records: &'a Records,
    wanted: &'a Wanted,
    included: Vec<Value>,
}

impl<'a> Document<'a> {
    pub(super) fn new(account: &'a Account, records: &'a Records, wanted: &'a Wanted) -> Self {
        Self { account, records, wanted, included: Vec::new() }
    }

    /// The document around its primary data; `included` in any order.
    pub(super) fn around(mut self, data: &Value) -> Value {
        let mut document = json!({ "data": data });
        if self.wanted.includes_any() {
            self.account.looks.lock().shuffle(&mut self.included);
            put(&mut document, "included", Value::Array(self.included));
        }
        document
    }

    /// A campaign with its relationships.
    pub(super) fn campaign(&mut self, id: &RecordId, version: &Version) -> Value {
        let mut relationships = Map::new();
        if self.wanted.includes("tiers") {
            let tiers: Vec<(RecordId, Version)> = self
                .records
                .live(RecordType::Tier)
                .filter(|(_, tier)| tier.text("campaign") == id.external_id)
                .map(|(tier, version)| (tier.clone(), Version::clone(version)))
                .collect();
            let mut named: Vec<Value> = tiers.iter().map(|(tier, _)| reference(tier)).collect();
            self.account.looks.lock().shuffle(&mut named);
            relationships.insert("tiers".to_owned(), json!({ "data": named }));
            for (tier, version) in &tiers {
                self.include_record(tier, version);
            }
        }
        if self.wanted.includes("creator") {
            let creator = version.text("creator");
            let named = json!({ "data": { "id": creator, "type": "user" } });
            relationships.insert("creator".to_owned(), named);
            let full_name = json!({ "full_name": "The creator" });
            self.include("user", creator, &full_name);
        }
        // Goals are deprecated and always empty; nobody here has benefits.
        for name in ["benefits", "goals"] {
            if self.wanted.includes(name) {
                relationships.insert(name.to_owned(), json!({ "data": [] }));
            }
        }
        self.resource("campaign", &id.external_id, &self.attributes(id, version), relationships)
    }

    /// A member with its relationships.
    pub(super) fn member(&mut self, id: &RecordId, version: &Version) -> Value {
        const ORIGIN: &str = "https://www.patreon.com/api/oauth2/v2";
        let mut relationships = Map::new();
        let fields = &version.fields;
        if self.wanted.includes("address") && !lacks(self.account, "campaigns.members.address") {
            let address = fields.get("address").filter(|address| !address.is_null());
            let data =
                address.map(|address| json!({ "id": member(address, "id"), "type": "address" }));
            relationships.insert("address".to_owned(), json!({ "data": data }));
            if let Some(address) = address {
                self.include_part("address", address);
            }
        }
        if self.wanted.includes("campaign") {
            let campaign = RecordId::new(RecordType::Campaign, version.text("campaign"));
            let related = format!("{ORIGIN}/campaigns/{}", campaign.external_id);
            let named = json!({ "data": reference(&campaign), "links": { "related": related } });
            relationships.insert("campaign".to_owned(), named);
            if let Some(version) = self.records.now(&campaign).cloned() {
                self.include_record(&campaign, &version);
            }
        }
        if self.wanted.includes("currently_entitled_tiers") {
            let tiers = version.texts("tiers").into_iter();
            let campaign = version.text("campaign");
            let mut tiers: Vec<RecordId> = tiers
                .map(|tier| RecordId::new(RecordType::Tier, format!("{campaign}/{tier}")))
                .collect();
            self.account.looks.lock().shuffle(&mut tiers);
            let named: Vec<Value> = tiers.iter().map(reference).collect();
            relationships.insert("currently_entitled_tiers".to_owned(), json!({ "data": named }));
            for tier in &tiers {
                if let Some(version) = self.records.now(tier).cloned() {
                    self.include_record(tier, &version);
                }
            }
        }
        if self.wanted.includes("user") {
            let user = fields.get("user").unwrap_or(&Value::Null);
            let own = member(user, "id").as_str().unwrap_or_default();
            let related = format!("{ORIGIN}/user/{own}");
            let data = json!({ "id": own, "type": "user" });
            let named = json!({ "data": data, "links": { "related": related } });
            relationships.insert("user".to_owned(), named);
            self.include_part("user", user);
        }
        if self.wanted.includes("pledge_history") {
            let pledges = fields.get("pledges").and_then(Value::as_array);
            let mut pledges: Vec<&Value> = pledges.into_iter().flatten().collect();
            self.account.looks.lock().shuffle(&mut pledges);
            let named = pledges
                .iter()
                .map(|one| json!({ "id": member(one, "id"), "type": "pledge-event" }));
            let named: Value = named.collect();
            relationships.insert("pledge_history".to_owned(), json!({ "data": named }));
            for pledge in pledges {
                self.include_part("pledge-event", pledge);
            }
        }
        self.resource("member", &id.external_id, &self.attributes(id, version), relationships)
    }

    fn include_record(&mut self, id: &RecordId, version: &Version) {
        let attributes = self.attributes(id, version);
        self.include(type_of(id), id.own(), &attributes);
    }

    /// A part of a record that is a resource of its own.
    fn include_part(&mut self, resource: &str, part: &Value) {
        let own = member(part, "id").as_str().unwrap_or_default();
        self.include(resource, own, member(part, "attributes"));
    }

    /// Once, however many refer to it.
    fn include(&mut self, resource: &str, id: &str, attributes: &Value) {
        let there = self
            .included
            .iter()
            .any(|one| member(one, "type") == resource && member(one, "id") == id);
        if !there {
            let shown = self.resource(resource, id, attributes, Map::new());
            self.included.push(shown);
        }
    }

    /// Only the attributes that are named and that the token may see.
    fn resource(
        &self,
        resource: &str,
        id: &str,
        attributes: &Value,
        relationships: Map<String, Value>,
    ) -> Value {
        let hides_email = lacks(self.account, "campaigns.members[email]");
        let mut chance = self.account.looks.lock();
        let named = self.wanted.fields(resource).iter();
        let allowed = named.filter(|name| !(hides_email && *name == "email"));
        let shown: Map<String, Value> = allowed
            .map(|name| {
                let value = match name.as_str() {
                    "image_url" | "image_small_url" | "thumb_url" if resource != "tier" => {
                        json!(signed_url(resource, id, name, &mut chance))
                    }
                    _ => respelled(member(attributes, name), &mut chance),
                };
                (name.clone(), value)
            })
            .collect();
        let mut resource = json!({ "id": id, "type": resource, "attributes": shown });
        if !relationships.is_empty() {
            put(&mut resource, "relationships", Value::Object(relationships));
        }
        resource
    }

    /// The attributes of a record with the counters as they are at this moment.
    fn attributes(&self, id: &RecordId, version: &Version) -> Value {
        let mut attributes = version.fields.get("attributes").cloned().unwrap_or_default();
        let patrons = self.records.live(RecordType::Member).filter(|(_, member)| {
            attribute(member, "patron_status") == "active_patron"
                && match id.record_type {
                    RecordType::Campaign => member.text("campaign") == id.external_id,
                    _ => member.texts("tiers").contains(&id.own()),
                }
        });
        if matches!(id.record_type, RecordType::Campaign | RecordType::Tier) {
            // Counted somewhere else and never quite up to date.
            let late = self.account.looks.lock().number(0, 4);
            let count = u64::try_from(patrons.count()).unwrap_or(u64::MAX);
            put(&mut attributes, "patron_count", json!(count.saturating_add(late)));
        }
        attributes
    }
}

/// Both spellings of an instant occur.
fn respelled(value: &Value, chance: &mut Chance) -> Value {
    let instant = value.as_str().filter(|text| text.len() == 25 && text.ends_with("+00:00"));
    match instant.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(at) if chance.happens(0.5) => json!(with_millis(at)),
        Some(at) => json!(with_offset(at)),
        None => value.clone(),
    }
}

/// A link to a picture, signed anew at each read.
fn signed_url(resource: &str, id: &str, name: &str, chance: &mut Chance) -> String {
    let size = if name == "image_url" { "eyJ3Ijo0MDB9" } else { "eyJ3IjoxMDB9" };
    let until = now().checked_add(336.hours()).unwrap_or_else(|_| now()).as_second();
    let hash = chance.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 42);
    let shift = i64::try_from(chance.number(0, 86_400)).unwrap_or_default();
    format!(
        "https://c10.patreonusercontent.com/4/patreon-media/p/{resource}/{id}/aaaa/{size}/1.jpeg\
         ?token-time={}&token-hash={hash}%3D",
        until + shift
    )
}

fn type_of(id: &RecordId) -> &'static str {
    match id.record_type {
        RecordType::Campaign => "campaign",
        RecordType::Tier => "tier",
        _ => "member",
    }
}

fn reference(id: &RecordId) -> Value {
    json!({ "id": id.own(), "type": type_of(id) })
}
