//! What records contain, and how an edit alters it.

pub(crate) mod eventbrite;
pub(crate) mod klaviyo;

use jiff::{Timestamp, ToSpan};

use crate::chance::Chance;

const FIRST_NAMES: &[&str] =
    &["Inês", "Rui", "Zoë", "Oluwaseun", "李娜", "Søren", "Aino", "Łukasz", "Ana María", "D'Arcy"];
const LAST_NAMES: &[&str] = &[
    "Marvão",
    "Delgado",
    "Adébáyọ̀",
    "王",
    "Ødegård",
    "Virtanen",
    "Nowak",
    "O'Neill",
    "Garcia-Ruiz",
];
const CITIES: &[&str] = &["Lisboa", "Köln", "東京", "Kraków", "São Paulo", "Cork", "Ōsaka"];

/// A moment in the two years before 2026: the same for the same seed, whenever it runs.
fn long_ago(chance: &mut Chance) -> Timestamp {
    let seconds = chance.number(0, 2 * 365 * 24 * 3600);
    let start = Timestamp::from_second(1_704_067_200).unwrap_or(Timestamp::UNIX_EPOCH);
    let ago = i64::try_from(seconds).unwrap_or_default().seconds();
    start.checked_add(ago).unwrap_or(start)
}
