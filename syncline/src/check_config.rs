//! `syncline check-config`.

use std::fmt::Write;

use anyhow::{Context, bail};
use common::config::{Config, ConnectionConfig};
use common::fleet::{self, OfClient};
use common::ids::Lane;
use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::answer::Answer;
use crate::named;

/// What stands in the place of a secret.
const HIDDEN: &str = "(set, hidden)";

/// Shows every setting and what becomes of each connection. What is wrong with connections is told
/// all at once.
pub(crate) fn run(config: &Config) -> anyhow::Result<Answer> {
    // Reads the certificates, where there are any.
    config.redis.address()?;
    let mut settings = serde_json::to_value(config).context("showing the configuration")?;
    let console_token = config.console.token().map_or("", ExposeSecret::expose_secret);
    hide(&mut settings, "/redis/url", config.redis.url.expose_secret());
    hide(&mut settings, "/postgres/url", config.postgres.url.expose_secret());
    hide(&mut settings, "/console/token", console_token);
    let mut text = String::new();
    lines("", &settings, &mut text);

    let mut problems = Vec::new();
    match config.credentials.keys() {
        Ok(Some(keys)) => {
            text =
                format!("{text}\nsecrets in Postgres are sealed under the key {}\n", keys.first());
        }
        Ok(None) => {}
        Err(error) => problems.push(error.to_string()),
    }
    for (lane, connection) in &config.connections {
        match look(lane, connection) {
            Ok(look) => text = format!("{text}\n{look}"),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let mut answer = Answer::text(text.trim_end());
    for sentence in overbooked(config)? {
        answer = answer.note(sentence);
    }
    let none = "no connection is configured: there is nothing to mirror";
    Ok(if config.connections.is_empty() { answer.note(none) } else { answer })
}

/// Clients whose connections can ask for more together than their platform lets them.
fn overbooked(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut known = Vec::new();
    for (lane, connection) in &config.connections {
        let Some(oauth) = &connection.oauth else { continue };
        let platform = named::platform_of(lane)?;
        known.push((lane, platform, &oauth.client_id, fleet::limits(platform, connection)?));
    }
    let of_client = known.iter().map(|(lane, platform, client_id, limits)| OfClient {
        lane,
        platform: *platform,
        client_id,
        limits,
    });
    Ok(fleet::overbooked_clients(of_client))
}

/// What a connection would be run with; reads its secrets.
fn look(lane: &Lane, config: &ConnectionConfig) -> anyhow::Result<String> {
    let platform = named::platform_of(lane).with_context(|| format!("connections.{lane}"))?;
    let secrets = config.secrets(lane)?;
    for (n, schedule) in config.schedules.iter().enumerate() {
        named::record_kind(platform, schedule.record_type.as_str())
            .with_context(|| format!("connections.{lane}.schedules[{n}].record_type"))?;
    }
    let limits =
        fleet::limits(platform, config).with_context(|| format!("connections.{lane}.quotas"))?;

    let set = |secret: &Option<SecretString>, without: &'static str| {
        if secret.is_some() { "read" } else { without }
    };
    let base_url = config.base_url.as_ref().map_or(platform.base_url(), |url| url.as_str());
    let mut text = format!(
        "{lane}\n  address         {base_url}\n  token           {}\n  webhook secret  {}\n  notice secret   {}\n  endpoint id     {}\n",
        if secrets.oauth.is_some() { "renewed" } else { "read" },
        set(&secrets.webhook_secret, "none"),
        set(&secrets.notice_secret, "none: it takes no notices of a bridge"),
        set(&secrets.endpoint_id, "none: it takes no webhooks"),
    );
    for quota in &limits.quotas {
        let window = SignedDuration::try_from(quota.window).unwrap_or(SignedDuration::MAX);
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "  quota {:9} {} in {window:#}, burst {}, headroom {}",
            quota.name, quota.limit, quota.burst, quota.headroom
        );
    }
    Ok(text)
}

fn hide(settings: &mut Value, pointer: &str, secret: &str) {
    if let Some(shown) = settings.pointer_mut(pointer).filter(|_| !secret.is_empty()) {
        *shown = HIDDEN.into();
    }
}

/// One setting a line, `worker.lease = "60s"`, without those that are left out.
fn lines(key: &str, value: &Value, text: &mut String) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let name = if name.contains('/') { format!("{name:?}") } else { name.clone() };
                let dot = if key.is_empty() { "" } else { "." };
                lines(&format!("{key}{dot}{name}"), value, text);
            }
        }
        Value::Null => {}
        Value::String(hidden) if hidden == HIDDEN => {
            let _ = writeln!(text, "{key} = {HIDDEN}");
        }
        other => {
            let _ = writeln!(text, "{key} = {other}");
        }
    }
}
