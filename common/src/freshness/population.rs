//! The price at which a whole population fits a budget: the optimum that nothing can beat.

use super::value::Habits;

/// Records that are alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// What they have in common.
    pub habits: Habits,
    /// How many they are.
    pub count: f64,
}

/// What the best policy does with a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimum {
    /// lambda: a record is looked at when a look is worth this much.
    pub price: f64,
    /// Looks per day that the population takes at this price; no more than the budget.
    pub looks_per_day: f64,
    /// Share of the time that a copy is true, weighted; 1 for an empty population.
    pub fresh_share: f64,
}

/// Halvings of the logarithm of the price.
const STEPS: usize = 48;

/// The price at which `population` takes `budget_looks_per_day`, by bisection on its logarithm;
/// some 50 passes over the population.
///
/// Its fresh share bounds what any policy with that mean budget can reach (Lagrange duality).
/// Where the budget lies in a jump (few records, of which one is just given up at that price),
/// it is that of the mixture of the policies on both sides that spends the budget.
pub fn optimum(population: &[Alike], budget_looks_per_day: f64) -> Optimum {
    let highest = population.iter().map(|group| group.habits.ceiling()).fold(0.0, f64::max);
    if highest <= 0.0 {
        return at_price(population, f64::MIN_POSITIVE);
    }
    // At the ceiling nobody is looked at; at 1e-18 of it, whatever is worth it more than once a
    // second.
    let (mut low, mut high) = ((highest * 1e-18).ln(), highest.ln());
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if looks_per_day(population, middle.exp()) > budget_looks_per_day {
            low = middle;
        } else {
            high = middle;
        }
    }
    let (dear, cheap) = (at_price(population, high.exp()), at_price(population, low.exp()));
    let part =
        (budget_looks_per_day - dear.looks_per_day) / (cheap.looks_per_day - dear.looks_per_day);
    let part = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
    Optimum {
        price: dear.price,
        looks_per_day: dear.looks_per_day + part * (cheap.looks_per_day - dear.looks_per_day),
        fresh_share: dear.fresh_share + part * (cheap.fresh_share - dear.fresh_share),
    }
}

/// Looks per day that one record of each group gets under an [`optimum`] of this population, in the
/// order of the groups. Where the budget lies in a jump, that of the mixture.
pub fn allocation(population: &[Alike], found: &Optimum) -> Vec<f64> {
    let at = |price: f64| -> Vec<f64> {
        let of = |group: &Alike| group.habits.looks_per_day(group.habits.threshold_age_days(price));
        population.iter().map(of).collect()
    };
    let total = |looks: &[f64]| -> f64 {
        population.iter().zip(looks).map(|(group, looks)| group.count * looks).sum()
    };
    // The other side of the jump is less than this away.
    let (dear, cheap) = (at(found.price), at(found.price * (1.0 - 1e-12)));
    let part = (found.looks_per_day - total(&dear)) / (total(&cheap) - total(&dear));
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    dear.iter().zip(cheap).map(|(dear, cheap)| dear + part * (cheap - dear)).collect()
}

/// The smallest budget, in looks per day, with which the best policy keeps `target` of the weight
/// fresh, and what comes of it; `None` when no budget does (only for a target of 1 or more).
pub fn budget_for(population: &[Alike], target: f64) -> Option<Optimum> {
    let highest = population.iter().map(|group| group.habits.ceiling()).fold(0.0, f64::max);
    let unasked = at_price(population, highest.max(f64::MIN_POSITIVE));
    if unasked.fresh_share >= target {
        return Some(unasked);
    }
    let (mut low, mut high) = ((highest * 1e-18).ln(), highest.ln());
    let (mut cheap, mut dear) = (at_price(population, low.exp()), unasked);
    if cheap.fresh_share < target || cheap.fresh_share.is_nan() {
        return None;
    }
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        let there = at_price(population, middle.exp());
        if there.fresh_share >= target {
            (low, cheap) = (middle, there);
        } else {
            (high, dear) = (middle, there);
        }
    }
    let part = (target - dear.fresh_share) / (cheap.fresh_share - dear.fresh_share);
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 1.0 };
    Some(Optimum {
        price: dear.price,
        looks_per_day: dear.looks_per_day + part * (cheap.looks_per_day - dear.looks_per_day),
        fresh_share: dear.fresh_share + part * (cheap.fresh_share - dear.fresh_share),
    })
}

/// What comes of looking at each record whenever a look is worth `price`.
pub fn at_price(population: &[Alike], price: f64) -> Optimum {
    let (mut looks, mut fresh, mut weights) = (0.0, 0.0, 0.0);
    for Alike { habits, count } in population {
        let age = habits.threshold_age_days(price);
        let weight = count * habits.weight();
        looks += count * habits.looks_per_day(age);
        fresh += weight * habits.fresh_share(age);
        weights += weight;
    }
    let fresh_share = if weights > 0.0 { fresh / weights } else { 1.0 };
    Optimum { price, looks_per_day: looks, fresh_share }
}

/// The fresh share when looks are spread over the records at random, alike for all.
pub fn fresh_share_at_random(population: &[Alike], budget_looks_per_day: f64) -> f64 {
    let records: f64 = population.iter().map(|group| group.count).sum();
    let each = budget_looks_per_day / records;
    let (mut fresh, mut weights) = (0.0, 0.0);
    for Alike { habits, count } in population {
        fresh += count * habits.weight() * habits.fresh_share_at_random(each);
        weights += count * habits.weight();
    }
    if weights > 0.0 { fresh / weights } else { 1.0 }
}

fn looks_per_day(population: &[Alike], price: f64) -> f64 {
    let looks = |group: &Alike| {
        group.count * group.habits.looks_per_day(group.habits.threshold_age_days(price))
    };
    population.iter().map(looks).sum()
}
