//! Watches what sends a platform's webhooks to us: looks, writes down what it found, raises and
//! clears alerts, repairs, and has read what was missed.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing::{debug, error, info, warn};

use super::{Connection, Fleet};
use crate::config::SchedulerConfig;
use crate::ids::{Lane, RecordType};
use crate::job::{Job, Priority, Task};
use crate::platform::{Call, PlatformError, RecordKind, Repair, Sender, SenderState};
use crate::store::alerts::{self, Topic};
use crate::store::bulk_runs::{self, NewRun};
use crate::store::senders::{self, Found, State};
use crate::store::{self, StoreError};
use crate::telemetry::{Metrics, current_traceparent};

/// The alert of a sender that does not send.
pub const OFF: &str = "webhooks-off";
/// The alert of one whose deliveries fail.
pub const FAILING: &str = "webhooks-failing";

/// Whoever would not say is not asked again so soon.
const AFTER_UNKNOWN: Duration = Duration::from_hours(1);
/// Who lacks the right to ask gets no other answer tomorrow; each refusal counts there, and one may
/// cost a renewal of the token.
const AFTER_REFUSAL: Duration = Duration::from_hours(24);

/// How senders are watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Time between two looks.
    pub every: Duration,
    /// Whether one that does not send is repaired where the platform lets us.
    pub repair: bool,
    /// A scan of what was missed begins this much earlier.
    pub overlap: Duration,
}

impl Watch {
    /// As configured.
    pub fn new(settings: &SchedulerConfig) -> Self {
        Self {
            every: settings.watch_senders_every,
            repair: settings.repair_senders,
            overlap: settings.bulk_overlap,
        }
    }
}

/// What a look led to.
#[derive(Debug)]
pub struct Report {
    /// As it was found.
    pub found: Sender,
    /// What came of repairing it; `None` where it was not tried.
    pub repair: Option<Repair>,
    /// As it was found after it was repaired.
    pub now: Sender,
    /// The record types that are being read because of what was missed.
    pub reading: Vec<RecordType>,
}

/// Why a sender could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The platform, or the way to it.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for WatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Whether a connection has a sender that can be asked for.
pub fn is_watched(connection: &Connection) -> bool {
    connection.endpoint.is_some() && !connection.platform.gap().kinds.is_empty()
}

/// One request or a few: how a connection's sender stands. Changes nothing.
///
/// # Errors
///
/// [`PlatformError`] where that says nothing about the sender: no permit, no token, a platform that
/// is throttled or no longer serves us at all.
pub async fn look(connection: &Connection, call: &Call<'_>) -> Result<Sender, PlatformError> {
    Ok(ask(connection, call).await?.0)
}

/// The same, and how long to leave it alone if it would not say.
async fn ask(
    connection: &Connection,
    call: &Call<'_>,
) -> Result<(Sender, Duration), PlatformError> {
    let Some(endpoint) = &connection.endpoint else {
        return Ok((Sender::unknown("the connection takes no webhooks"), AFTER_REFUSAL));
    };
    match connection.platform.sender(call, endpoint).await {
        Ok(sender) => {
            let pause = match sender.state {
                SenderState::Unknown => AFTER_UNKNOWN,
                _ => Duration::ZERO,
            };
            Ok((sender, pause))
        }
        // A token that may not ask this may well do all else: nothing is parked because of it.
        Err(PlatformError::Unauthorized { reason }) => {
            let what = format!("the token may not look at webhooks: {reason}");
            Ok((Sender::unknown(what), AFTER_REFUSAL))
        }
        Err(
            error @ (PlatformError::Unexpected { .. }
            | PlatformError::Transient { .. }
            | PlatformError::CursorLost),
        ) => Ok((Sender::unknown(error.to_string()), AFTER_UNKNOWN)),
        Err(error) => Err(error),
    }
}

/// Looks, and does what there is to do about it.
///
/// What was found is in Postgres before anything is repaired: whoever dies in between leaves a gap
/// that is still read.
///
/// # Errors
///
/// [`WatchError`]; then the next look does what is left.
pub async fn watch(
    fleet: &Fleet,
    connection: &Connection,
    call: &Call<'_>,
    settings: Watch,
    metrics: &Metrics,
) -> Result<Report, WatchError> {
    let (found, missed) = note(fleet, connection, call, settings, metrics).await?;
    let mut now_is = found.clone();
    let mut repair = None;
    if found.is_broken() {
        let outcome = mend(connection, call, settings, &found).await?;
        if missed {
            raise(fleet, connection, OFF, &found, outcome.as_ref()).await?;
        }
        if outcome == Some(Repair::Done) {
            now_is = note(fleet, connection, call, settings, metrics).await?.0;
            if now_is.sends() {
                info!(lane = %connection.lane(), what = found.what, "webhooks are sent again");
                metrics.sender_repaired(connection.platform.name());
            }
        }
        repair = outcome;
    }
    match now_is.state {
        SenderState::Ok => {
            clear(fleet, connection, OFF).await?;
            clear(fleet, connection, FAILING).await?;
        }
        SenderState::Failing => {
            clear(fleet, connection, OFF).await?;
            raise(fleet, connection, FAILING, &now_is, None).await?;
        }
        SenderState::Off | SenderState::Missing | SenderState::Unknown => {}
    }
    let reading = if now_is.sends() {
        read_gap(fleet, connection, settings.overlap).await?
    } else {
        Vec::new()
    };
    Ok(Report { found, repair, now: now_is, reading })
}

/// Looks and writes down what it found; and whether a person has to know that it does not send: not
/// of a webhook that nobody has entered yet, nor when another look was later.
async fn note(
    fleet: &Fleet,
    connection: &Connection,
    call: &Call<'_>,
    settings: Watch,
    metrics: &Metrics,
) -> Result<(Sender, bool), WatchError> {
    let began_at = store::now(&fleet.db).await?;
    let (sender, pause) = ask(connection, call).await?;
    let noted = Found {
        connection: connection.id,
        state: state(sender.state),
        what: &sender.what,
        began_at,
        next_in: settings.every.max(pause),
        told_of: connection.platform.gap().kinds,
    };
    let ever_well = senders::note(&fleet.db, &noted).await?;
    if sender.state != SenderState::Unknown {
        metrics.sender_sends(connection.lane().as_str(), sender.sends());
    }
    let missed = ever_well.is_some_and(|well| well || sender.state == SenderState::Off);
    Ok((sender, missed))
}

/// Repairs what was found broken, where that is wanted.
async fn mend(
    connection: &Connection,
    call: &Call<'_>,
    settings: Watch,
    found: &Sender,
) -> Result<Option<Repair>, PlatformError> {
    let (true, Some(endpoint)) = (settings.repair, &connection.endpoint) else { return Ok(None) };
    match connection.platform.repair_sender(call, endpoint, found).await {
        Ok(repair) => {
            if let Repair::NotDone(why) = &repair {
                // The alert says it; and who never had a webhook is not told with every look.
                debug!(lane = %connection.lane(), why, "webhooks are not sent, and not repaired");
            }
            Ok(Some(repair))
        }
        // It says nothing about the sender, and must not hide that it is broken.
        Err(error @ (PlatformError::Unexpected { .. } | PlatformError::Transient { .. })) => {
            warn!(lane = %connection.lane(), %error, "webhooks are not sent, and not repaired");
            Ok(Some(Repair::NotDone(error.to_string())))
        }
        Err(error) => Err(error),
    }
}

async fn raise(
    fleet: &Fleet,
    connection: &Connection,
    kind: &str,
    sender: &Sender,
    repair: Option<&Repair>,
) -> Result<(), StoreError> {
    let platform = connection.platform.name();
    let not_repaired = match repair {
        Some(Repair::NotDone(why)) => format!("; not repaired: {why}"),
        _ => String::new(),
    };
    let said = match sender.state {
        SenderState::Failing => format!("{platform} cannot deliver webhooks: {}", sender.what),
        _ => format!("{platform} sends no webhooks: {}{not_repaired}", sender.what),
    };
    let detail = json!({ "state": state(sender.state).as_str(), "webhooks": sender.off });
    let topic = Topic { connection: Some(connection.id), kind, subject: "" };
    if alerts::raise(&fleet.db, topic, &said, &detail).await? == alerts::Raised::New {
        error!(lane = %connection.lane(), what = said, "webhooks are not sent as they should be");
    }
    Ok(())
}

async fn clear(fleet: &Fleet, connection: &Connection, kind: &str) -> Result<(), StoreError> {
    let topic = Topic { connection: Some(connection.id), kind, subject: "" };
    alerts::clear(&fleet.db, topic).await.map(drop)
}

/// Starts a scan of each record type of the gap, from where it begins, unless one is running; such
/// a type is left for the next look. In one transaction, so that each is started once.
async fn read_gap(
    fleet: &Fleet,
    connection: &Connection,
    overlap: Duration,
) -> Result<Vec<RecordType>, WatchError> {
    let mut tx = fleet.db.begin().await?;
    let Some(gap) = senders::lock_gap(&mut tx, connection.id).await? else {
        return Ok(Vec::new());
    };
    let now = store::now(&mut *tx).await?;
    let (mut reading, mut left) = (Vec::new(), Vec::new());
    for record_type in gap.types {
        // One that this version does not know is not waited for.
        let Some(kind) = connection.record_kind(record_type.as_str()) else { continue };
        let watermark = bulk_runs::watermark(&mut *tx, connection.id, &record_type).await?;
        let reach =
            Reach { from: gap.from, before: connection.platform.gap().before, overlap, now };
        let new = NewRun {
            connection: connection.id,
            record_type: record_type.clone(),
            changed_since: reach.since(kind, watermark),
        };
        match bulk_runs::start(&mut *tx, &new).await? {
            Some(_) => reading.push(record_type),
            None => left.push(record_type),
        }
    }
    senders::narrow_gap(&mut tx, connection.id, &left).await?;
    tx.commit().await?;
    let lane = connection.lane();
    let jobs: Vec<Job> = reading.iter().map(|record_type| scan(lane, record_type)).collect();
    for record_type in &reading {
        info!(%lane, %record_type, "scan of what webhooks did not tell started");
    }
    if let Err(error) = fleet.queue.enqueue(&jobs).await {
        warn!(%error, "not enqueued yet: the sweeper will");
    }
    Ok(reading)
}

fn scan(lane: &Lane, record_type: &RecordType) -> Job {
    Job {
        lane: lane.clone(),
        task: Task::Scan { record_type: record_type.clone() },
        priority: Priority::Bulk,
        trace: current_traceparent(),
    }
}

/// How far back a scan has to reach.
#[derive(Clone, Copy, Debug)]
struct Reach {
    from: Option<Timestamp>,
    before: Duration,
    overlap: Duration,
    now: Timestamp,
}

impl Reach {
    /// From where on changes of this kind are read; `None` where everything is.
    ///
    /// No later than any other run of changes would begin, since the next one begins where this one
    /// ends.
    fn since(self, kind: &RecordKind, watermark: Option<Timestamp>) -> Option<Timestamp> {
        if !kind.changed_since {
            return None;
        }
        let earlier = |at: Timestamp, by: Duration| at.checked_sub(by).unwrap_or(Timestamp::MIN);
        let usual = watermark.map(|watermark| earlier(watermark, self.overlap));
        // What is only read for hints cannot be read whole.
        let from = self.from.or((!kind.mirrored).then_some(self.now))?;
        let gap = earlier(from, self.before + self.overlap);
        match usual {
            Some(usual) => Some(gap.min(usual)),
            // Without a run that has ended there is no mirror to bring up to date.
            None if kind.mirrored => None,
            None => Some(gap),
        }
    }
}

/// The same as Postgres has it.
pub fn state(state: SenderState) -> State {
    match state {
        SenderState::Ok => State::Ok,
        SenderState::Failing => State::Failing,
        SenderState::Off => State::Off,
        SenderState::Missing => State::Missing,
        SenderState::Unknown => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform;

    fn kind(platform: &str, name: &str) -> &'static RecordKind {
        let platform = platform::named(platform).unwrap();
        platform.records().iter().find(|kind| kind.name == name).unwrap()
    }

    #[test]
    fn a_scan_reaches_back_to_before_the_gap_and_never_skips_what_other_scans_would_read() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let reach = |from| Reach {
            from,
            before: Duration::from_secs(100),
            overlap: Duration::from_secs(10),
            now: at(9_000),
        };
        let since = |kind: &RecordKind, from: Option<i64>, watermark: Option<i64>| {
            reach(from.map(at)).since(kind, watermark.map(at)).map(Timestamp::as_second)
        };
        let profile = kind("klaviyo", "profile");
        assert_eq!(since(profile, Some(5_000), Some(8_000)), Some(4_890));
        assert_eq!(since(profile, Some(5_000), Some(2_000)), Some(1_990));
        assert_eq!(since(profile, Some(5_000), None), None, "nothing was mirrored yet");
        assert_eq!(since(profile, None, Some(8_000)), None, "nobody knows since when");
        let event = kind("klaviyo", "event");
        assert_eq!(since(event, None, None), Some(8_890));
        assert_eq!(since(event, Some(5_000), Some(2_000)), Some(1_990));
        let member = kind("patreon", "member");
        assert_eq!(since(member, Some(5_000), Some(8_000)), None, "it cannot say what changed");
    }
}
