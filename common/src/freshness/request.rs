//! Requests, not records, cost: what a request that looks at many records is worth.

use super::special::non_negative;

/// A record that a request could look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<K> {
    /// Which one.
    pub key: K,
    /// What a look at it is worth now, [`super::Gain::value`] times its weight.
    pub value: f64,
}

/// One way to spend requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// One record, by its id.
    Single,
    /// Many records by their ids.
    Batch,
    /// One page of a list, with the records that happen to stand on it.
    Page,
    /// All pages of a list. Finds what is new and what was deleted too.
    Scan,
    /// A list of what changed since the last one.
    ChangedSince,
}

/// What a way costs and brings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Which way.
    pub way: Way,
    /// Expected days of freshness, weighted: the sum of V over all that it looks at.
    pub value: f64,
    /// What it costs, at least 1.
    pub requests: f64,
}

impl Offer {
    /// A look at one record.
    pub fn single(value: f64) -> Self {
        Self::new(Way::Single, value, 1.0)
    }

    /// A batch by ids; see [`fill_batch`].
    pub fn batch<K>(chosen: &[Candidate<K>]) -> Self {
        Self::new(Way::Batch, chosen.iter().map(|candidate| candidate.value).sum(), 1.0)
    }

    /// The page of a list on which these records stand.
    pub fn page(values: impl IntoIterator<Item = f64>) -> Self {
        Self::new(Way::Page, values.into_iter().sum(), 1.0)
    }

    /// A whole list.
    ///
    /// - `value`: the sum of V over the list, or the mean of a random sample times its length.
    pub fn scan(value: f64, records: f64, page_size: f64) -> Self {
        Self::new(Way::Scan, value, pages(records, page_size))
    }

    /// A list of changes. What it does not name is known to be unchanged, so it looks at every
    /// record, and pays for those alone that it names.
    ///
    /// - `value`: as of a scan.
    /// - `coverage`: the share of changes that the platform's list is known to show.
    /// - `changed`: how many records it is expected to name.
    pub fn changed_since(value: f64, coverage: f64, changed: f64, page_size: f64) -> Self {
        let value = value * non_negative(coverage, 1.0);
        Self::new(Way::ChangedSince, value, pages(changed, page_size))
    }

    fn new(way: Way, value: f64, requests: f64) -> Self {
        Self { way, value: non_negative(value, f64::MAX), requests }
    }

    /// What the offers are compared by.
    pub fn value_per_request(&self) -> f64 {
        self.value / self.requests
    }
}

/// The best of the offers, if it is worth its price.
///
/// - `price`: lambda, for one request.
pub fn best(offers: impl IntoIterator<Item = Offer>, price: f64) -> Option<Offer> {
    offers
        .into_iter()
        .max_by(|a, b| a.value_per_request().total_cmp(&b.value_per_request()))
        .filter(|offer| offer.value_per_request() >= price)
}

/// The `size` most valuable of a group's candidates, in no order: those that are due, and in the
/// room that is left those that nearly are, which cost nothing more. O(n), without allocation.
pub fn fill_batch<K>(candidates: &mut [Candidate<K>], size: usize) -> &[Candidate<K>] {
    if size == 0 {
        return &[];
    }
    if size < candidates.len() {
        candidates.select_nth_unstable_by(size - 1, |a, b| b.value.total_cmp(&a.value));
    }
    candidates.get(..size).unwrap_or(candidates)
}

/// The price of one look when a request carries `looks` that are worth it.
pub fn price_per_look(price_per_request: f64, looks: f64) -> f64 {
    price_per_request / if looks >= 1.0 { looks } else { 1.0 }
}

fn pages(records: f64, page_size: f64) -> f64 {
    let pages = (non_negative(records, f64::MAX) / page_size.max(1.0)).ceil();
    pages.max(1.0)
}
