//! What a request has to be worth for the quota to suffice, by what is believed of the records.

use common::fleet::Connection;
use common::freshness::grid::{GridBelief, GridEvidence};
use common::freshness::request::price_per_look;
use common::freshness::{
    Belief as _, ControllerSettings, Evidence as _, Notices, PriceController, fitting_price,
};
use common::ids::RecordType;
use common::store::{StoreError, records};
use jiff::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;
use sqlx::PgPool;

use super::choose::Kind;

/// Random records of each type by which the price is worked out.
const SAMPLE: u32 = 200;

/// A price, and what it was worked out from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    /// lambda, for one request.
    pub(super) price: f64,
    /// When the types were fitted last, and which of them count on no webhooks.
    pub(super) from: Vec<(RecordType, Option<Timestamp>, bool)>,
}

/// What a fitted price depends on.
pub(super) fn origin(kinds: &[Kind]) -> Vec<(RecordType, Option<Timestamp>, bool)> {
    let of = |kind: &Kind| (kind.record_type.clone(), kind.habits.fitted_at, kind.habits.outage);
    kinds.iter().map(of).collect()
}

/// A random record, with what it stands for.
pub(super) struct Sample {
    belief: GridBelief,
    notices: Notices,
    weight: f64,
    looks_per_request: f64,
    min_age_days: f64,
    /// Records like it.
    pub(super) count: f64,
}

impl Sample {
    fn of(kind: &Kind, seen: &GridEvidence, weight: f64, count: f64) -> Self {
        Self {
            belief: seen.belief(&kind.habits.prior),
            notices: kind.habits.notices(),
            weight,
            looks_per_request: f64::from(kind.planning.looks_per_request.max(1)),
            min_age_days: kind.planning.min_age.as_secs_f64() / 86_400.0,
            count,
        }
    }

    /// Requests a day that it and those like it are worth at this price.
    fn requests_per_day(&self, price: f64) -> f64 {
        let price = price_per_look(price, self.looks_per_request);
        let age = self.belief.threshold_age_days(&self.notices, self.weight, price);
        let looks = age.map_or(0.0, |age| {
            // No lower bound would mean no end of looks.
            self.belief.looks_per_day(&self.notices, age.max(self.min_age_days).max(1e-5))
        });
        self.count * looks / self.looks_per_request
    }
}

/// Draws random records of each type.
pub(super) async fn sample(
    db: &PgPool,
    connection: &Connection,
    kinds: &[Kind],
    chance: &mut StdRng,
) -> Result<Vec<Sample>, StoreError> {
    let mut samples = Vec::new();
    for kind in kinds {
        let start = chance.random();
        let drawn = records::random(db, connection.id, &kind.record_type, start, SAMPLE).await?;
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let count = drawn.population / drawn.records.len().max(1) as f64;
        samples.extend(
            drawn
                .records
                .into_iter()
                .map(|(evidence, weight, _)| Sample::of(kind, &evidence, weight, count)),
        );
    }
    Ok(samples)
}

/// The price at which these are worth as many requests as the quota allows; `None` without records.
/// Looks that bounds of age or audits call for are not counted: the controller makes up for them.
///
/// - `start`: a price that may be close.
pub(super) fn fitting(samples: &[Sample], start: f64, requests_per_day: f64) -> Option<f64> {
    (!samples.is_empty()).then(|| {
        fitting_price(start, requests_per_day, |price| {
            samples.iter().map(|sample| sample.requests_per_day(price)).sum()
        })
    })
}

/// The price of a lane after a price was fitted: that one where it had none, moved as the fitted one
/// did since `before` where that is known, and as it was otherwise.
pub(super) fn moved(stored: Option<f64>, before: Option<f64>, fitted: f64) -> f64 {
    let settings = ControllerSettings::default();
    let mut controller = PriceController::new(stored.unwrap_or(fitted), settings);
    if let Some(before) = before.filter(|_| stored.is_some()) {
        controller.follow(fitted / before);
    }
    controller.price()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::freshness::Observation;
    use common::store::habits::{Planning, TypeHabits};

    use super::*;

    fn kind(looks_per_request: u32, min_age: Duration) -> Kind {
        Kind {
            record_type: "profile".into(),
            habits: TypeHabits::default(),
            planning: Planning { looks_per_request, min_age, ..Planning::default() },
            requests: 1.0,
            scanned_by: None,
            is_being_read: false,
            lists_edits: false,
        }
    }

    /// Records of which every other was found changed once a day for a month.
    fn samples(kind: &Kind, weight: f64) -> Vec<Sample> {
        (0..40)
            .map(|n| {
                let seen = Observation { exposure_days: 1.0, changed: n % 2 == 0, noticed: false };
                let evidence = (0..30)
                    .fold(GridEvidence::default(), |before, _| kind.habits.observe(&before, &seen));
                Sample::of(kind, &evidence, weight, 25.0)
            })
            .collect()
    }

    #[test]
    fn the_price_is_that_at_which_the_quota_suffices() {
        let kind = kind(1, Duration::ZERO);
        let samples = samples(&kind, 1.0);
        let mut last = f64::INFINITY;
        for requests_per_day in [10.0, 1e3, 1e5] {
            let price = fitting(&samples, 1.0, requests_per_day).unwrap();
            let asked: f64 = samples.iter().map(|one| one.requests_per_day(price)).sum();
            assert!((asked / requests_per_day - 1.0).abs() < 0.05, "{asked} {requests_per_day}");
            assert!(price < last, "more quota must be cheaper");
            last = price;
        }
        assert_eq!(fitting(&[], 1.0, 10.0), None);
    }

    #[test]
    fn weights_and_batches_have_their_part_in_the_price() {
        let single = kind(1, Duration::ZERO);
        let price = fitting(&samples(&single, 1.0), 1.0, 1e3).unwrap();
        let heavy = fitting(&samples(&single, 10.0), 1.0, 1e3).unwrap();
        assert!((heavy / price / 10.0 - 1.0).abs() < 0.01, "{heavy} {price}");
        // A request with a hundred records costs as much as a hundredth of one for each.
        let batch = fitting(&samples(&kind(100, Duration::ZERO), 1.0), 1.0, 10.0).unwrap();
        assert!((batch / price / 100.0 - 1.0).abs() < 0.01, "{batch} {price}");
    }

    #[test]
    fn quota_that_the_least_age_leaves_over_makes_looks_cheap_not_wrong() {
        let samples = samples(&kind(1, Duration::from_hours(1)), 1.0);
        // A thousand records, one look an hour each at most.
        let price = fitting(&samples, 1.0, 1e6).unwrap();
        assert!(price.is_finite() && price < 1e-6, "{price}");
    }

    #[test]
    fn a_new_lane_begins_at_the_fitting_price_and_an_old_one_follows_it() {
        let near = |actual: f64, expected: f64| (actual / expected - 1.0).abs() < 1e-9;
        assert!(near(moved(None, None, 0.5), 0.5), "a new lane");
        assert!(near(moved(None, Some(0.1), 0.5), 0.5), "its price was never written down");
        assert!(near(moved(Some(3.0), None, 0.5), 3.0), "a scheduler that has just begun");
        assert!(near(moved(Some(3.0), Some(0.25), 0.5), 6.0), "what was corrected is kept");
    }

    #[test]
    fn a_price_is_fitted_anew_when_types_are_or_webhooks_fail() {
        let mut kind = kind(1, Duration::ZERO);
        let before = origin(std::slice::from_ref(&kind));
        kind.habits.price = 7.0;
        assert_eq!(origin(std::slice::from_ref(&kind)), before);
        kind.habits.outage = true;
        assert_ne!(origin(std::slice::from_ref(&kind)), before);
        kind.habits.outage = false;
        kind.habits.fitted_at = Some(Timestamp::from_second(1).unwrap());
        assert_ne!(origin(std::slice::from_ref(&kind)), before);
    }
}
