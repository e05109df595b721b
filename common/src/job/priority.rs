//! How urgent a job is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Strict order inside a lane, apart from the floors; smaller numbers go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// A platform told us that something changed.
    Webhook = 0,
    /// A person asked.
    Manual = 1,
    /// A page of a bulk sync.
    Bulk = 2,
    /// A look at a record that nobody asked for.
    SpotCheck = 3,
}

impl Priority {
    /// From the most to the least urgent.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Manual, Self::Bulk, Self::SpotCheck];

    /// Its number in Redis and in Postgres: 0 for the most urgent.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The priority with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in logs, metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Manual => "manual",
            Self::Bulk => "bulk",
            Self::SpotCheck => "spot-check",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
