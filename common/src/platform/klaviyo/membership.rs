//! Who is on which list.
//!
//! A list can be asked for profiles by their addresses and not by their ids, so a look asks for
//! the profiles first. Who left a list is only seen by reading all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::ExternalId;
use crate::platform::answer::Meaning;
use crate::platform::confirm::confirm;
use crate::platform::klaviyo::document::{Listing, Many, One};
use crate::platform::klaviyo::look::any;
use crate::platform::klaviyo::records::{is_id, membership_parts, read, read_all};
use crate::platform::klaviyo::scan::changed_filter;
use crate::platform::klaviyo::{DIALECT, errors};
use crate::platform::record::page;
use crate::platform::{Call, Look, Page, PlatformError, RecordKind, ScanFrom};

/// Of a member, all that does not count as the profile's own.
const FIELDS: (&str, &str) = ("fields[profile]", "joined_group_at");

const MEMBERS: &str = "/api/lists/{list}/profiles";

/// By what a list can be asked for its members.
const FIELDS_OF_AN_ADDRESS: [&str; 2] = ["email", "phone_number"];

/// By what a list can be asked for one of them.
#[derive(Clone, Debug)]
struct Address {
    field: &'static str,
    value: String,
}

/// Looks at memberships of one list: two requests, and one more for each profile that is not on
/// it, which is asked for by itself before it counts as missing.
pub(super) async fn look(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    // Memberships that share a request share the list.
    let list = ids.iter().find_map(membership_parts).map_or("", |(list, _)| list);
    let (mut asked, strange): (BTreeSet<_>, BTreeSet<_>) =
        ids.iter().partition(|id| membership_parts(id).is_some_and(|(parent, _)| parent == list));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    if asked.is_empty() {
        return Ok(looks);
    }
    let addresses = addresses(call, &asked).await?;
    for field in FIELDS_OF_AN_ADDRESS {
        let values: Vec<_> =
            addresses.values().filter(|at| at.field == field).map(|at| at.value.as_str()).collect();
        if values.is_empty() {
            continue;
        }
        let Some(found) = members(call, kind, list, field, &values).await? else {
            // Without their list, none of them can be on it.
            looks.extend(asked.into_iter().cloned().map(Look::Missing));
            return Ok(looks);
        };
        for look in found {
            if asked.remove(look.external_id()) {
                looks.push(look);
            }
        }
    }
    let left_out = asked.into_iter().collect();
    looks.extend(confirm(left_out, |id| one(call, kind, list, id, addresses.get(id))).await);
    Ok(looks)
}

/// The addresses of the profiles that there are and that have one, with one request.
async fn addresses<'a>(
    call: &Call<'_>,
    asked: &BTreeSet<&'a ExternalId>,
) -> Result<BTreeMap<&'a ExternalId, Address>, PlatformError> {
    let by_profile: BTreeMap<&str, &ExternalId> = asked
        .iter()
        .filter_map(|&id| membership_parts(id).map(|(_, profile)| (profile, id)))
        .collect();
    let filter = any("id", by_profile.keys().copied());
    let query = [("filter", filter.as_str()), ("page[size]", "100")];
    let answer = call.get(&DIALECT, "/api/profiles", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let Many { data } = answer.json()?;
    let mut addresses = BTreeMap::new();
    for payload in data {
        let (profile, address) = address(payload)?;
        if let (Some(&id), Some(address)) = (by_profile.get(profile.as_str()), address) {
            addresses.insert(id, address);
        }
    }
    Ok(addresses)
}

/// A profile's id, and its address where it has one that can stand in a filter.
fn address(payload: &RawValue) -> Result<(String, Option<Address>), PlatformError> {
    #[derive(Deserialize)]
    struct Head {
        id: String,
        #[serde(default)]
        attributes: Value,
    }

    let profile: Head = serde_json::from_str(payload.get())
        .map_err(|_| PlatformError::Unexpected { what: "a profile without an id".to_owned() })?;
    let address = FIELDS_OF_AN_ADDRESS
        .into_iter()
        .filter_map(|field| {
            let value = profile.attributes.get(field)?.as_str()?.to_owned();
            Some(Address { field, value })
        })
        .find(|address| {
            (1..=254).contains(&address.value.len())
                && !address.value.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
        });
    Ok((profile.id, address))
}

/// Those of the list's members who have one of these addresses; `None` when there is no such list.
async fn members(
    call: &Call<'_>,
    kind: &RecordKind,
    list: &str,
    field: &str,
    values: &[&str],
) -> Result<Option<Vec<Look>>, PlatformError> {
    let filter = any(field, values.iter().copied());
    let query = [("filter", filter.as_str()), FIELDS, ("page[size]", "100")];
    let answer = call.get(&DIALECT, MEMBERS, &[list], &query).await?;
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(None),
        meaning => meaning.into_result()?,
    }
    let Many { data } = answer.json()?;
    data.into_iter().map(|payload| read(kind, list, payload)).collect::<Result<_, _>>().map(Some)
}

/// Looks at one membership by itself.
async fn one(
    call: &Call<'_>,
    kind: &RecordKind,
    list: &str,
    id: &ExternalId,
    address: Option<&Address>,
) -> Result<Look, PlatformError> {
    let asked_for = match address {
        Some(address) => Profile::At(address.clone()),
        None => profile(call, membership_parts(id).map_or("", |(_, profile)| profile)).await?,
    };
    let address = match asked_for {
        Profile::At(address) => address,
        Profile::Gone => return Ok(Look::Missing(id.clone())),
        Profile::Nowhere => return Ok(Look::unclear(id, NOWHERE)),
    };
    let found = members(call, kind, list, address.field, &[&address.value]).await?;
    let found = found.into_iter().flatten().find(|look| look.external_id() == id);
    Ok(found.unwrap_or_else(|| Look::Missing(id.clone())))
}

const NOWHERE: &str =
    "a profile without e-mail address and phone number is only seen by a scan of its lists";

/// Where a profile can be found.
enum Profile {
    At(Address),
    /// On no list: there is none, or it was merged into another.
    Gone,
    Nowhere,
}

async fn profile(call: &Call<'_>, profile: &str) -> Result<Profile, PlatformError> {
    let answer = call.get(&DIALECT, "/api/profiles/{id}", &[profile], &[]).await?;
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Profile::Gone),
        meaning => meaning.into_result()?,
    }
    let One { data } = answer.json()?;
    Ok(match address(data)? {
        (id, _) if id != profile => Profile::Gone,
        (_, Some(address)) => Profile::At(address),
        (_, None) => Profile::Nowhere,
    })
}

/// Where a scan of all lists stands; our cursor, as JSON.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Place {
    /// The lists of this page that are not read to the end; the first one is being read.
    lists: Vec<String>,
    /// Klaviyo's cursor of the next page of lists.
    more: Option<String>,
    /// Klaviyo's cursor of the next page of members.
    members: Option<String>,
}

impl Place {
    fn cursor(&self) -> Result<Option<String>, PlatformError> {
        if self.lists.is_empty() && self.more.is_none() {
            return Ok(None);
        }
        serde_json::to_string(self).map(Some).map_err(|_| PlatformError::Unexpected {
            what: "a cursor that cannot be written down".to_owned(),
        })
    }
}

/// One page: of lists, when there is none left to read, or of the members of one. Lists come in
/// the order in which they were made, so that a new one is at the end.
pub(super) async fn scan(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let mut place: Place = match from.cursor.as_deref() {
        None => Place::default(),
        Some(cursor) => serde_json::from_str(cursor).map_err(|_| PlatformError::CursorLost)?,
    };
    let Some(list) = place.lists.first().cloned() else {
        place = lists(call, place.more.as_deref()).await?;
        return page(Vec::new(), place.cursor()?, from);
    };

    let changed = from.changed_since.map(|since| changed_filter("joined_group_at", since));
    let mut query = vec![("sort", "joined_group_at"), FIELDS, ("page[size]", "100")];
    query.extend(changed.as_deref().map(|filter| ("filter", filter)));
    query.extend(place.members.as_deref().map(|cursor| ("page[cursor]", cursor)));
    let answer = call.get(&DIALECT, MEMBERS, &[&list], &query).await?;
    let records = match errors::meaning(&answer) {
        // The list was deleted meanwhile; its members are looked at one by one.
        Meaning::Missing => {
            place.members = None;
            Vec::new()
        }
        meaning => {
            meaning.into_result()?;
            let listing: Listing<'_> = answer.json()?;
            place.members = listing.next()?;
            read_all(kind, &list, &listing.data)?
        }
    };
    if place.members.is_none() {
        place.lists.remove(0);
    }
    page(records, place.cursor()?, from)
}

/// The next page of lists, none of them read yet.
async fn lists(call: &Call<'_>, cursor: Option<&str>) -> Result<Place, PlatformError> {
    #[derive(Deserialize)]
    struct List {
        id: String,
    }

    let mut query = vec![("sort", "created"), ("page[size]", "10")];
    query.extend(cursor.map(|cursor| ("page[cursor]", cursor)));
    let answer = call.get(&DIALECT, "/api/lists", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let listing: Listing<'_> = answer.json()?;
    let mut lists = Vec::with_capacity(listing.data.len());
    for payload in &listing.data {
        let List { id } = serde_json::from_str(payload.get())
            .ok()
            .filter(|list: &List| is_id(&list.id))
            .ok_or_else(|| PlatformError::Unexpected { what: "a list without an id".to_owned() })?;
        lists.push(id);
    }
    Ok(Place { lists, more: listing.next()?, members: None })
}
