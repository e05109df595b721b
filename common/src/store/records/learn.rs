//! What a look teaches: how often the record changes, what webhooks are worth, when to look next.
//! Pure.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::write::Judged;
use super::{Finding, Outcome, Trigger, WriteBatch};
use crate::freshness::Observation;
use crate::freshness::grid::GridEvidence;
use crate::ids::ExternalId;
use crate::store::habits::{Lessons, TypeHabits, explores};

/// What a row keeps of a look for the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lesson {
    /// `None`: as it was.
    pub(super) evidence: Option<GridEvidence>,
    /// `None`: as it was.
    pub(super) weight: Option<f64>,
    /// `None`: it is gone, or its next look is decided otherwise.
    pub(super) next_check_at: Option<Timestamp>,
}

/// What the look at one record says about the time before it; `None` when nothing: it is new,
/// gone, or too young to judge.
///
/// - `drifted`: the difference is drift, so nothing had told of it.
pub(super) fn observation(
    judged: &Judged<'_>,
    batch: &WriteBatch,
    drifted: bool,
) -> Option<Observation> {
    judged.held.hash?;
    let exposure = batch.fetched_at.duration_since(judged.held.last_verified_at);
    let exposure_days = exposure.as_secs_f64() / 86_400.0;
    if exposure_days < 0.0 {
        return None;
    }
    let told = judged.closed.is_some();
    let seen = |changed, noticed| Some(Observation { exposure_days, changed, noticed });
    match judged.outcome {
        // Whoever asks by hand may know something, and a difference while a notice is on its way
        // is neither silent nor announced yet.
        Outcome::Changed if told || batch.trigger == Trigger::Webhook => seen(true, true),
        Outcome::Changed if drifted => seen(true, false),
        Outcome::Unchanged if batch.trigger == Trigger::Manual => seen(false, false),
        // A platform that lags may show the change a little later.
        Outcome::Unchanged => match judged.closed {
            Some(closed) if is_within(batch.fetched_at, closed.first, batch.young) => None,
            _ => seen(false, told),
        },
        _ => None,
    }
}

/// A silent change that a list of changes named happened after the time from which it lists: until
/// then the record was as it was, or the list before would have named it. Taken for one exposure, it
/// would say that the record changes about as often as it is named, which is true of any.
fn parts(
    seen: Observation,
    judged: &Judged<'_>,
    batch: &WriteBatch,
) -> (Option<Observation>, Observation) {
    let listed = batch.listed_since.filter(|_| seen.changed && !seen.noticed);
    let quiet_days = listed.map_or(0.0, |since| {
        since.duration_since(judged.held.last_verified_at).as_secs_f64() / 86_400.0
    });
    let quiet_days = quiet_days.clamp(0.0, seen.exposure_days);
    let quiet = Observation { exposure_days: quiet_days, changed: false, noticed: false };
    let rest = Observation { exposure_days: seen.exposure_days - quiet_days, ..seen };
    ((quiet_days > 0.0).then_some(quiet), rest)
}

fn is_within(now: Timestamp, then: Timestamp, length: Duration) -> bool {
    now.duration_since(then) < SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}

/// What the looks of a batch teach, in their order, and what they add for the whole type.
///
/// - `drifted`: the records that nothing had told of.
pub(super) fn learn(
    habits: &TypeHabits,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
    drifted: &HashSet<ExternalId>,
) -> (Vec<Lesson>, Lessons) {
    let mut sum = Lessons::default();
    let lessons = judged
        .iter()
        .map(|judged| {
            let drifted = drifted.contains(&judged.look.external_id);
            if matches!(judged.outcome, Outcome::Changed | Outcome::Deleted) {
                let told = judged.closed.is_some() || batch.trigger == Trigger::Webhook;
                sum.told_changes += i64::from(told);
                sum.silent_changes += i64::from(drifted && !told);
            }
            let before = judged.held.evidence.unwrap_or_default();
            let mut evidence = None;
            if let Some(seen) = observation(judged, batch, drifted) {
                let (quiet, seen) = parts(seen, judged, batch);
                for part in quiet.into_iter().chain([seen]) {
                    let more = habits.tell(&before, &part);
                    sum.counts.announced += more.announced;
                    sum.counts.expected += more.expected;
                    sum.counts.silent += more.silent;
                    sum.counts.silent_exposure += more.silent_exposure;
                    sum.counts.false_notices += more.false_notices;
                    sum.counts.exposure_days += more.exposure_days;
                }
                let quiet_days = quiet.map_or(0.0, |quiet| quiet.exposure_days);
                evidence = Some(habits.observe_after(&before, quiet_days, &seen));
            }
            let Finding::Found { payload, .. } = &judged.look.finding else {
                return Lesson { evidence, ..Lesson::default() };
            };
            let rule = batch.planning.weights.as_ref();
            let weight = rule.map_or(1.0, |rule| rule.weight(payload.get()));
            let explores = explores(&judged.look.external_id, batch.fetched_at);
            let now = evidence.unwrap_or(before);
            let days = habits.next_age_days(&now, weight, &batch.planning, explores);
            let age = SignedDuration::try_from_secs_f64(days * 86_400.0);
            let next_check_at = batch.fetched_at.checked_add(age.unwrap_or(SignedDuration::MAX));
            Lesson { evidence, weight: Some(weight), next_check_at: next_check_at.ok() }
        })
        .collect();
    (lessons, sum)
}
