//! What a request has to be worth for the quota to suffice, by what is believed of the records.

use common::fleet::Connection;
use common::freshness::grid::{GridBelief, GridEvidence};
use common::freshness::request::price_per_look;
use common::freshness::{
    Belief as _, ControllerSettings, Evidence as _, LEAST_PRICE, Notices, PriceController,
    fitting_price,
};
use common::ids::RecordType;
use common::store::habits::TypeHabits;
use common::store::{StoreError, records};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sqlx::PgPool;

use super::choose::Kind;

/// Random records of each type by which the price is worked out.
const SAMPLE: u32 = 200;

/// What was believed of the types of a lane when its price was fitted last.
#[derive(Clone, Debug)]
pub(super) struct Fitted(Vec<(RecordType, TypeHabits)>);

impl Fitted {
    /// What is believed of them now.
    pub(super) fn by(kinds: &[Kind]) -> Self {
        Self(kinds.iter().map(|kind| (kind.record_type.clone(), kind.habits)).collect())
    }

    /// Whether its types are still the same, were not fitted since, and no webhooks have begun to
    /// fail, or work again.
    pub(super) fn holds(&self, kinds: &[Kind]) -> bool {
        let is_same = |((record_type, then), kind): (&(RecordType, TypeHabits), &Kind)| {
            let now = &kind.habits;
            *record_type == kind.record_type
                && then.fitted_at == now.fitted_at
                && then.outage == now.outage
        };
        self.0.len() == kinds.len() && self.0.iter().zip(kinds).all(is_same)
    }

    /// These types as they were believed to be; a new one is not among them.
    pub(super) fn then(&self, kinds: &[Kind]) -> Vec<Kind> {
        let then = |kind: &Kind| {
            let (_, habits) = self.0.iter().find(|(known, _)| *known == kind.record_type)?;
            Some(Kind { habits: *habits, ..kind.clone() })
        };
        kinds.iter().filter_map(then).collect()
    }
}

/// A random record, before anything is believed of it.
pub(super) struct Drawn {
    record_type: RecordType,
    evidence: GridEvidence,
    weight: f64,
    /// Records like it.
    count: f64,
}

/// A random record, with what it stands for.
pub(super) struct Sample {
    belief: GridBelief,
    notices: Notices,
    weight: f64,
    looks_per_request: f64,
    min_age_days: f64,
    count: f64,
}

impl Sample {
    fn of(kind: &Kind, drawn: &Drawn) -> Self {
        Self {
            belief: drawn.evidence.belief(&kind.habits.prior),
            notices: kind.habits.notices(),
            weight: drawn.weight,
            looks_per_request: f64::from(kind.planning.looks_per_request.max(1)),
            min_age_days: kind.planning.min_age.as_secs_f64() / 86_400.0,
            count: drawn.count,
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

/// What is believed of the records that were drawn; those of other types are left out.
pub(super) fn samples(kinds: &[Kind], drawn: &[Drawn]) -> Vec<Sample> {
    let of = |one: &Drawn| {
        let kind = kinds.iter().find(|kind| kind.record_type == one.record_type)?;
        Some(Sample::of(kind, one))
    };
    drawn.iter().filter_map(of).collect()
}

/// Draws random records of each type.
pub(super) async fn draw(
    db: &PgPool,
    connection: &Connection,
    kinds: &[Kind],
    chance: &mut StdRng,
) -> Result<Vec<Drawn>, StoreError> {
    let mut all = Vec::new();
    for kind in kinds {
        let start = chance.random();
        let drawn = records::random(db, connection.id, &kind.record_type, start, SAMPLE).await?;
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let count = drawn.population / drawn.records.len().max(1) as f64;
        all.extend(drawn.records.into_iter().map(|(evidence, weight, _)| Drawn {
            record_type: kind.record_type.clone(),
            evidence,
            weight,
            count,
        }));
    }
    Ok(all)
}

/// The price at which these are worth as many requests as the quota allows, [`LEAST_PRICE`] where it
/// allows all that they are worth; `None` without records. Looks that bounds of age or audits call for
/// are not counted: the controller makes up for them.
///
/// - `start`: a price that may be close.
pub(super) fn fitting(samples: &[Sample], start: f64, requests_per_day: f64) -> Option<f64> {
    let demand = |price| samples.iter().map(|sample| sample.requests_per_day(price)).sum();
    if samples.is_empty() {
        return None;
    }
    if demand(LEAST_PRICE) <= requests_per_day {
        return Some(LEAST_PRICE);
    }
    Some(fitting_price(start, requests_per_day, demand))
}

/// The price of a lane after a price was fitted: that one where it had none, moved as the fitted one
/// did since `before` where that is known, and as it was otherwise. Where the quota is or was enough
/// for everything there is no such move, and the fitted price is taken.
///
/// - `before`: what was believed last calls for this price, with the same records: of two hundred a
///   few more or less are worth their looks by chance, which may move a price by some per cent.
pub(super) fn moved(stored: Option<f64>, before: Option<f64>, fitted: f64) -> f64 {
    let is_scarce = |price: f64| price > LEAST_PRICE;
    let (price, factor) = match (stored, before) {
        (Some(stored), None) => (stored, 1.0),
        (Some(stored), Some(before)) if is_scarce(before) && is_scarce(fitted) => {
            (stored, fitted / before)
        }
        _ => (fitted, 1.0),
    };
    let mut controller = PriceController::new(price, ControllerSettings::default());
    controller.follow(factor);
    controller.price()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::freshness::{NoticeCounts, Observation};
    use common::store::habits::Planning;
    use jiff::Timestamp;

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

    /// Webhooks of which nine in ten tell.
    fn told_of_nearly_all() -> NoticeCounts {
        NoticeCounts {
            announced: 900.0,
            expected: 900.0,
            silent: 100.0,
            silent_exposure: 900.0,
            exposure_days: 1000.0,
            ..NoticeCounts::default()
        }
    }

    /// Records of which every other was found changed once in so many days, a month long.
    fn drawn(kind: &Kind, weight: f64, exposure_days: f64) -> Vec<Drawn> {
        let one = |n| {
            let seen = Observation { exposure_days, changed: n % 2 == 0, noticed: false };
            let evidence = (0..30)
                .fold(GridEvidence::default(), |before, _| kind.habits.observe(&before, &seen));
            Drawn { record_type: kind.record_type.clone(), evidence, weight, count: 25.0 }
        };
        (0..40).map(one).collect()
    }

    fn samples(kind: &Kind, weight: f64) -> Vec<Sample> {
        super::samples(std::slice::from_ref(kind), &drawn(kind, weight, 1.0))
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
        for start in [1e-6, 1.0, 1e6] {
            assert_eq!(fitting(&samples, start, 1e6), Some(LEAST_PRICE));
        }
    }

    #[test]
    fn a_new_lane_begins_at_the_fitting_price_and_an_old_one_follows_it() {
        let near = |actual: f64, expected: f64| (actual / expected - 1.0).abs() < 1e-9;
        assert!(near(moved(None, None, 0.5), 0.5), "a new lane");
        assert!(near(moved(None, Some(0.1), 0.5), 0.5), "its price was never written down");
        assert!(near(moved(Some(3.0), None, 0.5), 3.0), "a scheduler that has just begun");
        assert!(near(moved(Some(3.0), Some(0.25), 0.5), 6.0), "what was corrected is kept");
        assert!(near(moved(Some(3.0), Some(LEAST_PRICE), 0.5), 0.5), "there was enough for all");
        for before in [0.25, LEAST_PRICE] {
            let enough = moved(Some(3.0), Some(before), LEAST_PRICE);
            assert!(near(enough, LEAST_PRICE), "there is enough for all");
        }
    }

    #[test]
    fn a_price_is_fitted_anew_when_types_are_or_webhooks_fail() {
        let mut kind = kind(1, Duration::ZERO);
        let before = Fitted::by(std::slice::from_ref(&kind));
        let holds = |kind: &Kind| before.holds(std::slice::from_ref(kind));
        kind.habits.price = 7.0;
        assert!(holds(&kind));
        kind.habits.outage = true;
        assert!(!holds(&kind));
        kind.habits.outage = false;
        kind.habits.fitted_at = Some(Timestamp::from_second(1).unwrap());
        assert!(!holds(&kind));
        assert!(!before.holds(&[]), "a type is gone");
    }

    #[test]
    fn a_price_follows_what_is_believed_and_not_which_records_were_drawn() {
        let mut kinds = [kind(1, Duration::ZERO)];
        kinds[0].habits.counts = told_of_nearly_all();
        let fitted = Fitted::by(&kinds);
        let follows = |kinds: &[Kind], drawn: &[Drawn]| {
            let price = |kinds: &[Kind]| fitting(&super::samples(kinds, drawn), 1.0, 1e3).unwrap();
            moved(Some(3.0), Some(price(&fitted.then(kinds))), price(kinds))
        };
        let (slow, fast) = (drawn(&kinds[0], 1.0, 10.0), drawn(&kinds[0], 1.0, 0.1));
        let price = |drawn: &[Drawn]| fitting(&super::samples(&kinds, drawn), 1.0, 1e3).unwrap();
        assert!(price(&slow) < 0.7 * price(&fast) || price(&fast) < 0.7 * price(&slow));

        // Fitted anew, and nothing else is believed.
        kinds[0].habits.fitted_at = Some(Timestamp::from_second(1).unwrap());
        for drawn in [&slow, &fast] {
            assert!((follows(&kinds, drawn) / 3.0 - 1.0).abs() < 2e-3);
        }
        // Its webhooks fail: more looks are worth their price, which rises.
        kinds[0].habits.outage = true;
        for drawn in [&slow, &fast] {
            assert!(follows(&kinds, drawn) > 3.3);
        }
    }

    #[test]
    fn a_type_that_is_new_to_a_lane_raises_its_price() {
        let (old, mut new) = (kind(1, Duration::ZERO), kind(1, Duration::ZERO));
        new.record_type = "event".into();
        let mut all = drawn(&old, 1.0, 1.0);
        all.extend(drawn(&new, 1.0, 1.0));
        let fitted = Fitted::by(std::slice::from_ref(&old));
        let kinds = [old, new];
        let price = |kinds: &[Kind]| fitting(&super::samples(kinds, &all), 1.0, 1e3).unwrap();
        assert!(price(&kinds) > 1.5 * price(&fitted.then(&kinds)));
    }
}
