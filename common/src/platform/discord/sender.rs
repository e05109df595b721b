//! Discord's webhook events: whether they are sent, and switching them on again. After too many
//! failures Discord stops them by itself.

use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::platform::discord::records::{ENTITLEMENT, GUILD};
use crate::platform::discord::{DIALECT, errors};
use crate::platform::{Call, Endpoint, Gap, PlatformError, Repair, Sender, SenderState};

/// What events tell of. Guilds because of those that let the bot in meanwhile.
pub(super) const GAP: Gap = Gap { kinds: &[ENTITLEMENT, GUILD], before: Duration::ZERO };

/// The application that the bot belongs to.
const APPLICATION: &str = "/applications/@me";
/// `event_webhooks_status`. 1 is off, by its owner.
const ENABLED: u8 = 2;
const DISABLED_BY_DISCORD: u8 = 3;

#[derive(Deserialize)]
struct Application {
    event_webhooks_url: Option<String>,
    event_webhooks_status: Option<u8>,
}

pub(super) async fn look(call: &Call<'_>, endpoint: &Endpoint) -> Result<Sender, PlatformError> {
    let answer = call.get(&DIALECT, APPLICATION, &[], &[]).await?;
    errors::meaning(&answer).into_result()?;
    let application: Application = answer.json()?;
    let sender = |state, what: &str| Sender { state, what: what.to_owned(), off: Vec::new() };
    Ok(match (application.event_webhooks_url.as_deref(), application.event_webhooks_status) {
        (None | Some(""), _) => sender(SenderState::Missing, "the application names no address"),
        (Some(url), _) if !endpoint.is(url) => Sender {
            // Somebody may want that: it is not overwritten.
            off: vec![ELSEWHERE.to_owned()],
            ..sender(SenderState::Missing, "the application names another address than ours")
        },
        (Some(_), Some(ENABLED)) => sender(SenderState::Ok, "webhook events are sent"),
        (Some(_), Some(DISABLED_BY_DISCORD)) => {
            sender(SenderState::Off, "webhook events are switched off by Discord")
        }
        (Some(_), Some(_)) => sender(SenderState::Off, "webhook events are switched off"),
        (Some(_), None) => Sender::unknown("the application does not say whether it sends"),
    })
}

/// Stands for the address of somebody else, in the place of a webhook's name.
const ELSEWHERE: &str = "elsewhere";

/// Discord tries an address before it takes it.
pub(super) async fn repair(
    call: &Call<'_>,
    endpoint: &Endpoint,
    sender: &Sender,
) -> Result<Repair, PlatformError> {
    let body = match (sender.state, endpoint.address()) {
        (SenderState::Off, _) => json!({ "event_webhooks_status": ENABLED }),
        (SenderState::Missing, _) if !sender.off.is_empty() => {
            return Ok(Repair::not_done("that address is left as it is: enter ours at Discord"));
        }
        (SenderState::Missing, Some(address)) => json!({
            "event_webhooks_url": address.expose_secret(),
            "event_webhooks_status": ENABLED,
            "event_webhooks_types": [
                "APPLICATION_AUTHORIZED", "ENTITLEMENT_CREATE", "ENTITLEMENT_UPDATE",
                "ENTITLEMENT_DELETE",
            ],
        }),
        _ => return Ok(Repair::not_done("our address is not known here: set ingress.public_url")),
    };
    let answer = call.change(&DIALECT, Method::PATCH, APPLICATION, &[], &body).await?;
    Repair::of(errors::meaning(&answer).into_result(), "the bot's own token")
}
