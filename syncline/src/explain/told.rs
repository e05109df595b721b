//! The explanation, for people and for programs.

use std::time::Duration;

use common::job::JobId;
use common::queue::{Explained, Held, Hold, Standing};
use common::store::records::Flags;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::known::Known;
use crate::connections::instant;
use crate::table::{Column, draw};

/// One line for each thing that is known.
pub(super) fn to_table(explained: Option<&Explained>, known: &Known) -> String {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut tell = |what: &str, how: String| rows.push([what.to_owned(), how]);
    if let Some(parked) = &known.connection.parked {
        tell("parked", format!("since {}: {}", instant(parked.at), parked.reason));
    }
    if let Some(explained) = explained {
        tell("job", explained.job.as_ref().map_or("does not wait in Redis".to_owned(), standing));
        for hold in &explained.holds {
            tell("held by", held_by(hold, explained.now_us));
        }
        if explained.job.is_some() {
            tell("runs", runs(explained));
        }
    }
    if let Some(letter) = &known.dead_letter {
        tell(
            "given up",
            format!(
                "{} after {} attempts: {} (syncline dead-letters replay {})",
                instant(letter.died_at),
                letter.attempts,
                letter.last_error,
                letter.id
            ),
        );
    }
    if let Some(oldest) = known.notices.first() {
        let count = known.notices.len();
        tell("notices", format!("{count} open, the oldest of {}", instant(oldest.received_at)));
    }
    if let Some(run) = &known.run {
        let (pages, moved) = (run.pages, instant(run.moved_at));
        tell("bulk run", format!("{} has written {pages} pages, the last {moved}", run.id));
    }
    match &known.row {
        Some(row) => {
            let state = state(row.flags);
            let (verified, changed) = (instant(row.last_verified_at), instant(row.changed_at));
            tell("mirror", format!("{state}; known to be true {verified}, changed {changed}"));
            if let Some(next) = row.next_check_at {
                tell("spot check", format!("not before {}", instant(next)));
            }
        }
        None if known.run.is_none() => tell("mirror", "does not know it".to_owned()),
        None => {}
    }
    draw([Column::Text("What"), Column::Text("How it stands")], rows, "nothing is known")
}

fn standing(job: &Standing) -> String {
    let (priority, waited) = (job.priority, span(job.waited));
    match job.held {
        Held::Ready { ahead, more_urgent } => format!(
            "ready as {priority} for {waited}: {ahead} before it, {more_urgent} more urgent"
        ),
        Held::Delayed { after, failed: true } => {
            format!("failed {} times, {priority}: waits {}", job.attempt, span(after))
        }
        Held::Delayed { after, failed: false } if job.round > 0 => {
            format!("confirming look {}, {priority}: waits {}", job.round, span(after))
        }
        Held::Delayed { after, failed: false } => {
            format!("put off, {priority}: waits {}", span(after))
        }
        Held::Leased { ends, fence, dirty } => {
            let again = if dirty { "; it runs once more afterwards" } else { "" };
            let (attempt, ends) = (job.attempt, span(ends));
            format!("is worked on, attempt {attempt}, fence {fence}, lease ends in {ends}{again}")
        }
    }
}

fn held_by(hold: &Hold, now_us: i64) -> String {
    let quota = hold.quota.as_ref().map(|name| format!(" of quota {name}")).unwrap_or_default();
    let until = hold.length.map_or("until a person ends it".to_owned(), |length| {
        format!("for {}, until {}", span(length), at(now_us, length))
    });
    format!("{}{quota} {until}", hold.what.name())
}

fn runs(explained: &Explained) -> String {
    let Some(earliest) = explained.earliest else {
        return "when the pause has ended".to_owned();
    };
    let when = if earliest.is_zero() {
        "now".to_owned()
    } else {
        format!("in {}, {}", span(earliest), at(explained.now_us, earliest))
    };
    if explained.exact {
        format!("{when}, if nothing else happens and a worker is free")
    } else {
        format!("{when} at the earliest, if nothing else happens")
    }
}

fn state(flags: Flags) -> &'static str {
    if flags.contains(Flags::DELETED) {
        "deleted"
    } else if flags.contains(Flags::SUSPECTED) {
        "missing at its last look, to be confirmed"
    } else {
        "present"
    }
}

/// All of it as one object; the parts that there are not are null.
pub(super) fn to_json(job: &JobId, explained: Option<&Explained>, known: &Known) -> Value {
    json!({
        "connection": known.connection.lane,
        "job": job,
        "parked": known.connection.parked.as_ref().map(|parked| json!({
            "reason": parked.reason, "at": parked.at,
        })),
        "queue": explained.map(queue),
        "dead_letter": known.dead_letter.as_ref().map(|letter| json!({
            "id": letter.id,
            "attempts": letter.attempts,
            "last_error": letter.last_error,
            "died_at": letter.died_at,
        })),
        "open_notices": known.notices.len(),
        "oldest_notice_at": known.notices.first().map(|notice| notice.received_at),
        "bulk_run": known.run.as_ref().map(|run| json!({
            "id": run.id.0, "pages": run.pages, "moved_at": run.moved_at,
        })),
        "mirror": known.row.as_ref().map(|row| json!({
            "deleted": row.flags.contains(Flags::DELETED),
            "suspected": row.flags.contains(Flags::SUSPECTED),
            "last_verified_at": row.last_verified_at,
            "changed_at": row.changed_at,
            "next_check_at": row.next_check_at,
        })),
    })
}

fn queue(explained: &Explained) -> Value {
    let holds: Vec<Value> = explained
        .holds
        .iter()
        .map(|hold| {
            json!({
                "what": hold.what.name(),
                "quota": hold.quota,
                "seconds": hold.length.map(|length| length.as_secs_f64()),
            })
        })
        .collect();
    json!({
        "job": explained.job.as_ref().map(job),
        "held_by": holds,
        "earliest_seconds": explained.earliest.map(|earliest| earliest.as_secs_f64()),
        "exact": explained.exact,
    })
}

fn job(job: &Standing) -> Value {
    let mut told = json!({
        "priority": job.priority.name(),
        "attempt": job.attempt,
        "round": job.round,
        "waited_seconds": job.waited.as_secs_f64(),
    });
    let more = match job.held {
        Held::Ready { ahead, more_urgent } => {
            json!({ "state": "ready", "ahead": ahead, "more_urgent": more_urgent })
        }
        Held::Delayed { after, failed } => json!({
            "state": if failed { "failed" } else { "delayed" },
            "after_seconds": after.as_secs_f64(),
        }),
        Held::Leased { ends, fence, dirty } => json!({
            "state": "leased", "ends_seconds": ends.as_secs_f64(), "fence": fence, "dirty": dirty,
        }),
    };
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    told
}

/// An instant by Redis' clock, `length` after another.
fn at(now_us: i64, length: Duration) -> String {
    let now = Timestamp::from_microsecond(now_us).ok();
    let then = now.and_then(|now| now.checked_add(length).ok());
    then.map_or_else(|| "beyond all dates".to_owned(), instant)
}

/// Whole seconds, rounded up.
fn span(length: Duration) -> String {
    let seconds = length.as_millis().div_ceil(1000);
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
