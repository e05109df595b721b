//! The quotas of the four platforms, with the windows that a run has time for.

use std::time::Duration;

use common::quota::Quota;

/// A platform's quotas as they are tried.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its name, and what was scaled: `Eventbrite (an hour is 2 min here)`.
    pub name: String,
    /// Its quotas.
    pub quotas: Vec<Quota>,
    /// Its answers say what remains in the longest window.
    pub tells: bool,
}

fn platform(name: &str, scaled: &str, tells: bool, quotas: &[(&str, u32, u64)]) -> Platform {
    let name = if scaled.is_empty() { name.to_owned() } else { format!("{name} ({scaled})") };
    let quotas = quotas
        .iter()
        .map(|&(name, limit, seconds)| Quota::new(name, limit, Duration::from_secs(seconds)))
        .collect();
    Platform { name, quotas, tells }
}

/// Those whose tightest window is a minute or longer, as they are but for Eventbrite's hour.
pub fn minutes() -> Vec<Platform> {
    vec![
        platform("Eventbrite", "an hour is 2 min here", false, &[("hour", 1000, 120)]),
        platform("Patreon", "", false, &[("client", 100, 2), ("token", 100, 60)]),
        platform("Klaviyo", "", true, &[("burst", 75, 1), ("steady", 500, 60)]),
    ]
}

/// The same with windows of ten seconds, and limits that keep their rates small.
pub fn minutes_reduced() -> Vec<Platform> {
    vec![
        platform("Eventbrite", "1000 an hour is 100 per 10 s here", false, &[("hour", 100, 10)]),
        platform(
            "Patreon",
            "a minute is 10 s here",
            false,
            &[("client", 100, 2), ("token", 100, 10)],
        ),
        platform(
            "Klaviyo",
            "500 a minute are 100 per 10 s here",
            true,
            &[("burst", 75, 1), ("steady", 100, 10)],
        ),
    ]
}

/// Those whose tightest window is a second.
pub fn seconds() -> Vec<Platform> {
    vec![platform("Discord", "", false, &[("global", 50, 1)])]
}
