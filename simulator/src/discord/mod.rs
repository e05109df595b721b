//! Discord's API v10 as its documentation of August 2026 describes it.

mod application;
mod entitlements;
mod guilds;
mod members;
pub(crate) mod notice;
mod shown;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::clock::now;
use crate::config::{GuildAccess, QuotaScope};
use crate::json::put;
use crate::limit::{Refusal, seconds_up};
use crate::quota::{Counted, Standing};
use crate::record::{RecordId, RecordType};
pub(crate) use application::test_endpoint;
pub(crate) use notice::public_key;

/// What a path asks for.
#[derive(Clone, Copy)]
enum Route<'a> {
    Guilds,
    Guild(&'a str),
    Members(&'a str),
    Member(&'a str, &'a str),
    Roles(&'a str),
    RoleCounts(&'a str),
    Role(&'a str, &'a str),
    Entitlements(&'a str),
    Entitlement(&'a str, &'a str),
    Application,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let Some(rest) = segments.strip_prefix(&["api", "v10"]) else { return Self::Unknown };
        match rest {
            ["users", "@me", "guilds"] => Self::Guilds,
            ["guilds", guild] => Self::Guild(guild),
            ["guilds", guild, "members"] => Self::Members(guild),
            ["guilds", guild, "members", user] => Self::Member(guild, user),
            ["guilds", guild, "roles"] => Self::Roles(guild),
            ["guilds", guild, "roles", "member-counts"] => Self::RoleCounts(guild),
            ["guilds", guild, "roles", role] => Self::Role(guild, role),
            ["applications", "@me"] => Self::Application,
            ["applications", application, "entitlements"] => Self::Entitlements(application),
            ["applications", application, "entitlements", id] => Self::Entitlement(application, id),
            _ => Self::Unknown,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Guilds => "/api/v10/users/@me/guilds",
            Self::Guild(_) => "/api/v10/guilds/{id}",
            Self::Members(_) => "/api/v10/guilds/{id}/members",
            Self::Member(..) => "/api/v10/guilds/{id}/members/{id}",
            Self::Roles(_) => "/api/v10/guilds/{id}/roles",
            Self::RoleCounts(_) => "/api/v10/guilds/{id}/roles/member-counts",
            Self::Role(..) => "/api/v10/guilds/{id}/roles/{id}",
            Self::Entitlements(_) => "/api/v10/applications/{id}/entitlements",
            Self::Entitlement(..) => "/api/v10/applications/{id}/entitlements/{id}",
            Self::Application => "/api/v10/applications/@me",
            Self::Unknown => "unknown",
        }
    }

    fn guild(self) -> Option<&'a str> {
        match self {
            Self::Guild(guild)
            | Self::Members(guild)
            | Self::Member(guild, _)
            | Self::Roles(guild)
            | Self::RoleCounts(guild)
            | Self::Role(guild, _) => Some(guild),
            _ => None,
        }
    }

    fn application(self) -> Option<&'a str> {
        match self {
            Self::Entitlements(application) | Self::Entitlement(application, _) => {
                Some(application)
            }
            _ => None,
        }
    }
}

/// Answers a request: the caller's name, token, limits, then the request itself.
pub(crate) fn answer(account: &Account, call: &Call) -> (&'static str, Answer) {
    let route = Route::of(&call.path);
    (route.template(), admitted(account, call, route).unwrap_or_else(|refused| refused))
}

fn admitted(account: &Account, call: &Call, route: Route<'_>) -> Result<Answer, Answer> {
    let name = call.header("user-agent").unwrap_or_default();
    if !names_itself(name) {
        let message = "Cloudflare is blocking your request. Set a proper user-agent.";
        return Err(error(StatusCode::FORBIDDEN, 40_333, message));
    }
    match call.header("authorization").map(|value| value.strip_prefix("Bot ")) {
        Some(Some(token)) if token == account.config.discord.bot_token.0 => {}
        Some(_) => return Err(error(StatusCode::UNAUTHORIZED, 50_014, "Invalid token")),
        None => return Err(error(StatusCode::UNAUTHORIZED, 40_001, "Unauthorized")),
    }
    let counted = Counted {
        template: route.template(),
        resource: route.guild().or(route.application()).unwrap_or_default(),
    };
    account.admit(counted).map_err(|refusal| throttled(account, counted, &refusal))?;
    let answer = allowed(account, route)
        .and_then(|()| answered(account, call, route))
        .unwrap_or_else(|refused| refused);
    Ok(match account.standing(counted, Some(QuotaScope::Route)) {
        Some(standing) => with_standing(answer, counted, standing),
        None => answer,
    })
}

fn answered(account: &Account, call: &Call, route: Route<'_>) -> Result<Answer, Answer> {
    let json = call.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if call.method != Method::GET && !json {
        let message = "Expected \"Content-Type\" header to be one of {'application/json'}.";
        return Err(error(StatusCode::BAD_REQUEST, 50_035, message));
    }
    match (route, &call.method) {
        (Route::Guilds, &Method::GET) => guilds::list(account, call),
        (Route::Guild(guild), &Method::GET) => guilds::one(account, call, guild),
        (Route::Members(guild), &Method::GET) => members::list(account, call, guild),
        (Route::Member(guild, user), &Method::GET) => members::one(account, call, guild, user),
        (Route::Roles(guild), &Method::GET) => guilds::roles(account, call, guild),
        (Route::RoleCounts(guild), &Method::GET) => guilds::role_counts(account, call, guild),
        (Route::Role(guild, role), &Method::GET) => guilds::role(account, call, guild, role),
        (Route::Entitlements(_), &Method::GET) => entitlements::list(account, call),
        (Route::Entitlement(_, id), &Method::GET) => entitlements::one(account, call, id),
        (Route::Application, &Method::GET) => application::get(account, call),
        (Route::Application, &Method::PATCH) => application::patch(account, call),
        (Route::Unknown, _) => Err(error_for(StatusCode::NOT_FOUND)),
        _ => Err(error_for(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// `DiscordBot (<url>, <version>)`, with anything behind it.
fn names_itself(name: &str) -> bool {
    let inner = name.strip_prefix("DiscordBot (").and_then(|rest| rest.split_once(')'));
    let parts = inner.and_then(|(inner, _)| inner.split_once(','));
    parts.is_some_and(|(url, version)| url.trim().starts_with("http") && !version.trim().is_empty())
}

/// Whether the bot is in the guild, and the application its own.
fn allowed(account: &Account, route: Route<'_>) -> Result<(), Answer> {
    if let Some(guild) = route.guild() {
        let id = RecordId::new(RecordType::Guild, guild);
        let access = account.switches.lock().guild_access.get(guild).copied();
        match access {
            Some(GuildAccess::Missing) => {
                return Err(error(StatusCode::FORBIDDEN, 50_001, "Missing Access"));
            }
            Some(GuildAccess::Unknown) => return Err(unknown(10_004, "Guild", None)),
            None if account.universe.lock().records.now(&id).is_none() => {
                return Err(unknown(10_004, "Guild", None));
            }
            None => {}
        }
    }
    match route.application() {
        Some(application) if application != account.config.discord.application_id => {
            Err(unknown(10_002, "Application", None))
        }
        _ => Ok(()),
    }
}

/// 404 for a thing of that kind.
fn unknown(code: u32, kind: &str, id: Option<RecordId>) -> Answer {
    let answer = error(StatusCode::NOT_FOUND, code, &format!("Unknown {kind}"));
    answer.about(id, Asked::Alone)
}

/// 400 for a parameter or a field of a body.
fn invalid(field: &str, message: &str) -> Answer {
    let mut answer = error(StatusCode::BAD_REQUEST, 50_035, "Invalid Form Body");
    let errors = json!({ "_errors": [{ "code": "BASE_TYPE_BAD", "message": message }] });
    put(&mut answer.body, "errors", json!({ field: errors }));
    answer
}

/// 400 when a query parameter is unknown or comes twice.
fn no_stray(call: &Call, known: &[&str]) -> Result<(), Answer> {
    let stray = call.stray_parameter(known);
    stray.map_or(Ok(()), |stray| Err(invalid(stray, "Unknown parameter.")))
}

/// A whole number in a parameter, within bounds.
fn number(call: &Call, name: &str, usual: u64, low: u64, high: u64) -> Result<u64, Answer> {
    let Some(text) = call.parameter(name) else { return Ok(usual) };
    let value = text.parse().ok().filter(|value| (low..=high).contains(value));
    value.ok_or_else(|| invalid(name, &format!("int value should be between {low} and {high}.")))
}

/// A snowflake in a parameter.
fn snowflake(call: &Call, name: &str) -> Result<Option<u64>, Answer> {
    let Some(text) = call.parameter(name) else { return Ok(None) };
    let value = text.parse().map_err(|_| invalid(name, "Value is not snowflake."))?;
    Ok(Some(value))
}

/// Yes or no in a parameter.
fn flag(call: &Call, name: &str, usual: bool) -> Result<bool, Answer> {
    match call.parameter(name) {
        None => Ok(usual),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(invalid(name, "Must be either true or false.")),
    }
}

/// A record's own id as a number, which orders it among others.
fn numeric(id: &RecordId) -> u64 {
    id.own().parse().unwrap_or_default()
}

/// The error body of a status.
pub(crate) fn error_for(status: StatusCode) -> Answer {
    match status.as_u16() {
        401 => error(status, 50_014, "Invalid token"),
        403 => error(status, 50_013, "Missing Permissions"),
        404 => error(status, 0, "404: Not Found"),
        405 => error(status, 0, "405: Method Not Allowed"),
        429 => Answer::error(status, limit_body(1.0, false)),
        503 => error(status, 130_000, "API resource is currently overloaded. Try again later"),
        _ => error(status, 0, "500: Internal Server Error"),
    }
}

fn error(status: StatusCode, code: u32, message: &str) -> Answer {
    Answer::error(status, json!({ "message": message, "code": code }))
}

fn limit_body(seconds: f64, global: bool) -> Value {
    let message = "You are being rate limited.";
    json!({ "message": message, "retry_after": seconds, "global": global })
}

fn throttled(account: &Account, counted: Counted<'_>, refusal: &Refusal) -> Answer {
    let global = refusal.scope == QuotaScope::Account;
    let body = limit_body(refusal.wait.as_secs_f64(), global);
    let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, body)
        .header("retry-after", &seconds_up(refusal.wait).max(1))
        .header("x-ratelimit-scope", &if global { "global" } else { "user" });
    if global {
        return answer.header("x-ratelimit-global", &true);
    }
    match account.standing(counted, Some(QuotaScope::Route)) {
        Some(standing) => with_standing(answer, counted, standing),
        None => answer,
    }
}

/// The headers of the route's bucket. Its name is that of the endpoint alone: the same for every
/// guild, each of which has a count of its own.
fn with_standing(answer: Answer, counted: Counted<'_>, standing: Standing) -> Answer {
    // FNV-1a: only to look opaque.
    let bucket = counted.template.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let reset_after = standing.reset.as_secs_f64();
    let reset = std::time::Duration::try_from(now().duration_since(jiff::Timestamp::UNIX_EPOCH));
    let reset = reset.unwrap_or_default().as_secs_f64() + reset_after;
    answer
        .header("x-ratelimit-limit", &standing.limit)
        .header("x-ratelimit-remaining", &standing.remaining)
        .header("x-ratelimit-reset", &format!("{reset:.3}"))
        .header("x-ratelimit-reset-after", &format!("{reset_after:.3}"))
        .header("x-ratelimit-bucket", &format!("{bucket:016x}"))
}

/// A 429 as a fault wants it, whose headers need not agree.
pub(crate) fn limited(
    error: Answer,
    retry_after_ms: u64,
    reset_after_ms: u64,
    scope: &str,
) -> Answer {
    let wait = std::time::Duration::from_millis(retry_after_ms);
    let reset = std::time::Duration::from_millis(reset_after_ms).as_secs_f64();
    let answer = Answer { body: limit_body(wait.as_secs_f64(), scope == "global"), ..error }
        .header("retry-after", &seconds_up(wait).max(1))
        .header("x-ratelimit-scope", &scope)
        .header("x-ratelimit-reset-after", &format!("{reset:.3}"));
    if scope == "global" { answer.header("x-ratelimit-global", &true) } else { answer }
}
