//! Look at records and make the mirror true.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::ids::{ExternalId, RecordType};
use common::job::{JobId, Priority};
use common::platform::{Consistency, Look};
use common::queue::Outcome;
use common::store::inbox::OpenNotices;
use common::store::records::{self, Finding, StoredRecord, Trigger, WriteBatch};
use common::telemetry;
use jiff::Timestamp;

use super::form::Form;
use super::{Failure, Work, external_id, unknown};
use crate::outcome::{self, Then};

/// The round of a confirming look after which there is no other.
const LAST_ROUND: u8 = u8::MAX;
/// A record that there was no quota for comes back this late; no attempt is used.
const QUOTA_PAUSE: Duration = Duration::from_secs(5);
/// Why nothing was concluded about a record that there was no quota for.
const NO_QUOTA: &str = "no quota was left to look at it alone";
/// A record that we no longer get at and that somebody asked for comes back this late; no attempt
/// is used. What nobody asked for does not come back: a scan finds it when we get at it again.
const OUT_OF_REACH_PAUSE: Duration = Duration::from_hours(1);
const TOO_YOUNG: &str = "missing, and too young to judge";

/// Looks at all records of the batch, writes what it found in one transaction.
pub(super) async fn run(work: &Work<'_>, record_type: &RecordType) -> Result<Vec<Then>, Failure> {
    let store = &work.worker.store;
    let connection = work.connection;
    let kind = connection.record_kind(record_type.as_str()).ok_or_else(|| unknown(record_type))?;
    let ids: Vec<ExternalId> = work.jobs.iter().filter_map(|job| external_id(&job.id)).collect();

    // What is open now is answered by what is fetched after now.
    let open = store.open_for(connection.id, record_type, &ids).await?;
    let looks = connection.platform.look(&work.call(kind.name), kind, &ids).await?;
    // A look can tell of another record than it was asked for: the one it was merged with.
    let told: Vec<_> = looks.iter().map(|look| look.external_id().clone()).collect();
    let form = Form::of(store.as_ref(), connection.id, kind).await?;
    let stored = store.stored(connection.id, record_type, &told).await?;

    let consistency = &connection.account.consistency;
    let young = young(&looks, &stored, &open, consistency);
    let postponed = postponed(&looks);
    let looks = looks
        .into_iter()
        .map(|look| match look {
            Look::Missing(id) if young.contains(&id) => Look::unclear(&id, TOO_YOUNG),
            look => look,
        })
        .map(|look| to_write(look, &form, &stored, open.now))
        .collect();
    let batch = WriteBatch {
        connection: connection.id,
        record_type: record_type.clone(),
        trigger: Trigger::from(work.priority),
        job_id: work.jobs.first().map_or_else(|| JobId::from(""), |job| job.id.clone()),
        fence: work.fence,
        fetched_at: open.now,
        run: None,
        listed_since: None,
        looks,
        close_notices: open.notices.iter().map(|notice| notice.id).collect(),
        confirm_after: work.worker.settings.missing_confirm_after,
        young: consistency.young,
        planning: work.planning(kind),
        repairs_per_hour: work.worker.care.repairs_per_hour,
        trace: telemetry::current_traceparent(),
    };
    let verdicts = store.write(&batch).await?;
    work.worker.count_verdicts(connection, work.priority, &verdicts);

    let found: HashMap<&ExternalId, (&records::Look, records::Outcome)> = batch
        .looks
        .iter()
        .zip(&verdicts)
        .map(|(look, verdict)| (&look.external_id, (look, verdict.outcome)))
        .collect();
    let settings = &work.worker.settings;
    Ok(work
        .jobs
        .iter()
        .map(|job| {
            let next = Next {
                priority: work.priority,
                round: job.round,
                consistency,
                confirm_missing: settings.missing_confirm_after,
            };
            let id = external_id(&job.id);
            match id.as_ref().and_then(|id| found.get(id)) {
                Some((look, records::Outcome::Unclear)) if young.contains(&look.external_id) => {
                    Then::Settle(next.look_again())
                }
                Some((look, _)) if postponed.contains(&look.external_id) => {
                    Then::Settle(Outcome::Defer { after: QUOTA_PAUSE })
                }
                Some((look, _)) if matches!(look.finding, Finding::OutOfReach { .. }) => {
                    Then::Settle(out_of_reach(work.priority))
                }
                Some((_, outcome)) if *outcome != records::Outcome::Unclear => {
                    Then::Settle(next.after(*outcome))
                }
                found => {
                    let reason = match found.map(|(look, _)| &look.finding) {
                        Some(Finding::Unclear { reason }) => reason,
                        _ => "the platform's answer does not mention it",
                    };
                    let chance = work.worker.chance();
                    outcome::unclear(reason, job.attempt, &settings.retry(), chance)
                }
            }
        })
        .collect())
}

/// Records that are missing, were never mirrored, and were named a moment ago: they may not be
/// readable yet.
fn young(
    looks: &[Look],
    stored: &HashMap<ExternalId, StoredRecord>,
    open: &OpenNotices,
    consistency: &Consistency,
) -> HashSet<ExternalId> {
    let fresh = |received_at: Timestamp| {
        Duration::try_from(open.now.duration_since(received_at)).unwrap_or_default()
            < consistency.young
    };
    let named_lately: HashSet<&ExternalId> = open
        .notices
        .iter()
        .filter(|notice| fresh(notice.received_at))
        .map(|notice| &notice.external_id)
        .collect();
    looks
        .iter()
        .filter(|look| matches!(look, Look::Missing(_)))
        .map(Look::external_id)
        .filter(|id| named_lately.contains(id) && !stored.contains_key(id))
        .cloned()
        .collect()
}

/// Records that there was no quota for.
fn postponed(looks: &[Look]) -> HashSet<ExternalId> {
    looks
        .iter()
        .filter(|look| matches!(look, Look::Postponed(_)))
        .map(|look| look.external_id().clone())
        .collect()
}

/// What is written of a look, with the difference to what is mirrored.
pub(super) fn to_write(
    look: Look,
    form: &Form<'_>,
    stored: &HashMap<ExternalId, StoredRecord>,
    now: Timestamp,
) -> records::Look {
    let external_id = look.external_id().clone();
    let finding = match look {
        Look::Missing(_) => Finding::Missing,
        Look::Gone(_) => Finding::Gone,
        Look::OutOfReach { reason, .. } => Finding::OutOfReach { reason },
        Look::Postponed(_) => Finding::Unclear { reason: NO_QUOTA.to_owned() },
        Look::Unclear { reason, .. } => Finding::Unclear { reason },
        Look::Found(snapshot) => form.found(snapshot, stored.get(&external_id), now),
    };
    records::Look { external_id, finding }
}

/// What becomes of a job whose record is out of reach.
const fn out_of_reach(priority: Priority) -> Outcome {
    match priority {
        Priority::Webhook | Priority::Manual => Outcome::Defer { after: OUT_OF_REACH_PAUSE },
        Priority::Bulk | Priority::SpotCheck => Outcome::Ack,
    }
}

/// Whether a record is looked at again.
struct Next<'a> {
    priority: Priority,
    /// Of the look that was just made.
    round: u8,
    consistency: &'a Consistency,
    confirm_missing: Duration,
}

impl Next<'_> {
    fn after(&self, outcome: records::Outcome) -> Outcome {
        use records::Outcome as Found;
        match outcome {
            Found::Suspected => Outcome::Again { after: self.confirm_missing, round: self.round },
            // Its notices are still open. A later fetch has written already, but it may have begun
            // before they came.
            Found::Stale => Outcome::Again { after: Duration::ZERO, round: self.round },
            Found::Unclear => self.look_again(),
            Found::Unchanged => self.confirm(false),
            _ => self.confirm(true),
        }
    }

    /// It was too early to say anything.
    fn look_again(&self) -> Outcome {
        let soon = self.consistency.confirm_after.first().copied();
        Outcome::Again { after: soon.unwrap_or(self.confirm_missing), round: self.round }
    }

    /// After a webhook, a platform whose reads lag is asked once more; and again when it still
    /// shows nothing new.
    fn confirm(&self, new: bool) -> Outcome {
        let times = &self.consistency.confirm_after;
        let due = usize::from(self.round);
        let (true, Some(&after)) = (self.priority == Priority::Webhook, times.get(due)) else {
            return Outcome::Ack;
        };
        if self.round > 0 && new {
            return Outcome::Ack;
        }
        let round = if new { LAST_ROUND } else { self.round + 1 };
        Outcome::Again { after, round }
    }
}

#[cfg(test)]
mod tests {
    use common::store::records::Outcome as Found;

    use super::*;

    fn next(priority: Priority, round: u8, found: Found) -> Outcome {
        let consistency = Consistency {
            confirm_after: vec![Duration::from_secs(20), Duration::from_mins(5)],
            young: Duration::from_mins(5),
        };
        let confirm_missing = Duration::from_secs(30);
        Next { priority, round, consistency: &consistency, confirm_missing }.after(found)
    }

    #[test]
    fn a_lagging_platform_is_asked_until_it_shows_something_new() {
        let (soon, late) = (Duration::from_secs(20), Duration::from_mins(5));
        let hook = Priority::Webhook;
        // What the first look showed may be the state between two writes: one more look.
        assert_eq!(
            next(hook, 0, Found::Changed),
            Outcome::Again { after: soon, round: LAST_ROUND }
        );
        assert_eq!(next(hook, LAST_ROUND, Found::Unchanged), Outcome::Ack);
        // Nothing new: twenty seconds, then five minutes, then that is how it is.
        assert_eq!(next(hook, 0, Found::Unchanged), Outcome::Again { after: soon, round: 1 });
        assert_eq!(next(hook, 1, Found::Unchanged), Outcome::Again { after: late, round: 2 });
        assert_eq!(next(hook, 1, Found::Changed), Outcome::Ack);
        assert_eq!(next(hook, 2, Found::Unchanged), Outcome::Ack);
        // Nobody told us anything: there is nothing to wait for.
        assert_eq!(next(Priority::SpotCheck, 0, Found::Changed), Outcome::Ack);
    }

    #[test]
    fn a_missing_record_is_looked_at_twice() {
        let again = next(Priority::SpotCheck, 0, Found::Suspected);
        assert_eq!(again, Outcome::Again { after: Duration::from_secs(30), round: 0 });
        assert_eq!(next(Priority::SpotCheck, 0, Found::Deleted), Outcome::Ack);
    }
}
