//! Requests compared by what they bring.

use super::super::request::{Candidate, Offer, Way, best, fill_batch, price_per_look};
use super::assert_near;

fn candidates(values: &[f64]) -> Vec<Candidate<usize>> {
    values.iter().enumerate().map(|(key, &value)| Candidate { key, value }).collect()
}

#[test]
fn a_batch_takes_the_most_valuable_of_the_group() {
    let mut group = candidates(&[0.1, 0.9, 0.3, 0.8, 0.2]);
    let mut chosen: Vec<usize> = fill_batch(&mut group, 3).iter().map(|c| c.key).collect();
    chosen.sort_unstable();
    assert_eq!(chosen, [1, 2, 3]);
    assert_eq!(fill_batch(&mut group, 9).len(), 5);
    assert!(fill_batch(&mut group, 0).is_empty());
}

#[test]
fn the_way_with_the_most_value_per_request_wins() {
    let mut group = candidates(&[0.5, 0.4, 0.1]);
    let offers = |group: &mut [Candidate<usize>]| {
        [Offer::single(0.5), Offer::batch(fill_batch(group, 2)), Offer::page([0.1, 0.5, 0.4])]
    };
    let won = best(offers(&mut group), 0.1).unwrap();
    assert_eq!(won.way, Way::Page);
    assert_near(won.value_per_request(), 1.0, 1e-12);
    assert_eq!(best(offers(&mut group), 1.1), None);
}

#[test]
fn a_scan_pays_for_every_page_and_a_list_of_changes_for_what_changed() {
    let scan = Offer::scan(90.0, 10_001.0, 100.0);
    assert_near(scan.requests, 101.0, 0.0);
    let listing = Offer::changed_since(90.0, 0.5, 30.0, 100.0);
    assert_near(listing.requests, 1.0, 0.0);
    assert_near(listing.value, 45.0, 0.0);
    assert_eq!(best([scan, listing], 0.0), Some(listing));
}

#[test]
fn a_request_that_carries_many_looks_makes_each_cheap() {
    assert_near(price_per_look(5.0, 100.0), 0.05, 1e-12);
    assert_near(price_per_look(5.0, 0.0), 5.0, 1e-12);
}
