//! Events, attendees and orders: what counts of them, and how they come.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::drift::{Field, Shape};
use crate::ids::ExternalId;
use crate::platform::{Look, PlatformError, RecordKind};

pub(super) const EVENT: &str = "event";
pub(super) const ATTENDEE: &str = "attendee";
pub(super) const ORDER: &str = "order";

/// Records on one page of a list, and so the most that one request can fetch by id. The
/// documented page size; orders have no filter by id.
const PAGE: u32 = 50;

pub(super) static KINDS: [RecordKind; 3] = [
    RecordKind {
        name: EVENT,
        schema_version: 1,
        batch: PAGE,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape: &EVENT_SHAPE,
    },
    RecordKind {
        name: ATTENDEE,
        schema_version: 1,
        batch: PAGE,
        changed_since: true,
        lists_edits: true,
        mirrored: true,
        shape: &ATTENDEE_SHAPE,
    },
    RecordKind {
        name: ORDER,
        schema_version: 1,
        batch: 1,
        changed_since: true,
        lists_edits: true,
        mirrored: true,
        shape: &ORDER_SHAPE,
    },
];

// Left out of all three: `changed`, which is the version and may move alone; `resource_uri`,
// whose form depends on the route; every expansion.

const TEXT: &[Field] = &[Field::whole("text"), Field::whole("html")];

const WHEN: &[Field] = &[Field::whole("timezone"), Field::whole("local"), Field::instant("utc")];

/// Without `display` and `major_value`, which say the same in a way that could change.
const MONEY: &[Field] = &[Field::whole("currency"), Field::whole("value")];

const COSTS: Field = Field::object(
    "costs",
    &[
        Field::object("base_price", MONEY),
        Field::object("eventbrite_fee", MONEY),
        Field::object("gross", MONEY),
        Field::object("payment_fee", MONEY),
        Field::object("tax", MONEY),
    ],
);

const ADDRESSES: Field = Field::object(
    "addresses",
    &[Field::whole("home"), Field::whole("ship"), Field::whole("work"), Field::whole("bill")],
);

static EVENT_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::object("name", TEXT),
    Field::whole("summary"),
    Field::object("description", TEXT),
    Field::whole("url"),
    Field::object("start", WHEN),
    Field::object("end", WHEN),
    Field::whole("organization_id"),
    Field::instant("created"),
    Field::instant("published"),
    Field::whole("status"),
    Field::whole("currency"),
    Field::whole("online_event"),
    Field::whole("hide_start_date"),
    Field::whole("hide_end_date"),
    Field::whole("listed"),
    Field::whole("shareable"),
    Field::whole("invite_only"),
    Field::whole("show_remaining"),
    Field::whole("password"),
    Field::whole("capacity"),
    Field::whole("capacity_is_custom"),
    Field::whole("organizer_id"),
    Field::whole("venue_id"),
    Field::whole("logo_id"),
    Field::whole("format_id"),
    Field::whole("category_id"),
    Field::whole("subcategory_id"),
]);

static ATTENDEE_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::instant("created"),
    Field::whole("ticket_class_id"),
    Field::whole("variant_id"),
    Field::whole("ticket_class_name"),
    Field::whole("quantity"),
    COSTS,
    Field::object(
        "profile",
        &[
            Field::whole("name"),
            Field::whole("first_name"),
            Field::whole("last_name"),
            Field::whole("email"),
            Field::whole("prefix"),
            Field::whole("suffix"),
            Field::whole("age"),
            Field::whole("job_title"),
            Field::whole("company"),
            Field::whole("website"),
            Field::whole("blog"),
            Field::whole("gender"),
            Field::whole("birth_date"),
            Field::whole("cell_phone"),
            ADDRESSES,
        ],
    ),
    ADDRESSES,
    Field::of("questions", Shape::Set { of: &Shape::Whole, by: Some("id") }),
    Field::of("answers", Shape::Set { of: &Shape::Whole, by: Some("question_id") }),
    Field::of(
        "barcodes",
        Shape::Set {
            of: &Shape::Object(&[
                Field::whole("barcode"),
                Field::whole("status"),
                Field::instant("created"),
                Field::whole("is_printed"),
            ]),
            by: Some("barcode"),
        },
    ),
    Field::whole("team"),
    Field::whole("affiliate"),
    Field::whole("checked_in"),
    Field::whole("cancelled"),
    Field::whole("refunded"),
    Field::whole("status"),
    Field::whole("event_id"),
    Field::whole("order_id"),
    Field::whole("guestlist_id"),
    Field::whole("invited_by"),
    Field::whole("delivery_method"),
]);

/// Without `time_remaining`, which counts down while an order is open.
static ORDER_SHAPE: Shape = Shape::Object(&[
    Field::whole("id"),
    Field::instant("created"),
    Field::whole("name"),
    Field::whole("first_name"),
    Field::whole("last_name"),
    Field::whole("email"),
    COSTS,
    Field::whole("event_id"),
    Field::whole("status"),
    Field::whole("promo_code"),
]);

/// Whether a text can be a number that Eventbrite gave.
pub(super) fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// An attendee's id: its event's and its own, since it cannot be read by its own alone.
pub(super) fn attendee_id(event: &str, attendee: &str) -> ExternalId {
    ExternalId::new(format!("{event}/{attendee}"))
}

/// The two parts of an attendee's id.
pub(super) fn attendee_parts(id: &ExternalId) -> Option<(&str, &str)> {
    id.as_str().split_once('/').filter(|(event, attendee)| is_id(event) && is_id(attendee))
}

/// What the adapter itself needs of a record.
#[derive(Deserialize)]
struct Head {
    id: String,
    event_id: Option<String>,
    #[serde(default)]
    changed: Value,
    #[serde(default)]
    resource_uri: Value,
}

impl Head {
    /// The event of an attendee, who also says where to be found: below an event or, by another
    /// route, below an order.
    fn event(&self) -> Option<String> {
        let in_uri = || match place(self.resource_uri.as_str()?)? {
            Place::Attendee { event, .. } => Some(event.to_owned()),
            Place::Event(_) | Place::Order(_) => None,
        };
        self.event_id.clone().or_else(in_uri)
    }
}

/// Where the documents say that every record is.
pub(super) const API: &str = "https://www.eventbriteapi.com/v3/";

/// A record, by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Event(&'a str),
    Attendee {
        event: &'a str,
        attendee: &'a str,
    },
    /// Or an attendee of it: this form has no event in it, without which an attendee cannot be
    /// read.
    Order(&'a str),
}

/// Takes the address of a record apart. It is never followed.
pub(super) fn place(url: &str) -> Option<Place<'_>> {
    let path = url.strip_prefix(API)?;
    let steps: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    Some(match *steps.as_slice() {
        ["events", event] if is_id(event) => Place::Event(event),
        ["events", event, "attendees", attendee] if is_id(event) && is_id(attendee) => {
            Place::Attendee { event, attendee }
        }
        ["orders", order] if is_id(order) => Place::Order(order),
        ["orders", order, "attendees", attendee] if is_id(order) && is_id(attendee) => {
            Place::Order(order)
        }
        _ => return None,
    })
}

/// Reads one record of any kind: found, or unclear when it has no canonical form.
pub(super) fn read(kind: &RecordKind, payload: &RawValue) -> Result<Look, PlatformError> {
    let nameless = || PlatformError::Unexpected { what: format!("an {} without an id", kind.name) };
    let head: Head = serde_json::from_str(payload.get()).map_err(|_| nameless())?;
    let id = if kind.name == ATTENDEE {
        attendee_id(&head.event().ok_or_else(nameless)?, &head.id)
    } else {
        ExternalId::new(head.id)
    };
    // `changed` is a hint; one that cannot be read is as good as none.
    let version = head.changed.as_str().and_then(|changed| changed.parse().ok());
    Ok(match kind.snapshot(id.clone(), payload, version) {
        Ok(snapshot) => Look::Found(snapshot),
        Err(error) => Look::unclear(&id, error.to_string()),
    })
}
