//! Faults that a test or a person switches on: which answers are spoilt, and how.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// What goes wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// This status with the platform's error body: 500, 503, 401, 410, or a 429 within limits.
    Status {
        /// The status.
        status: u16,
        /// Seconds, in a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// A 429 whose parts disagree as Discord's documents show them: `Retry-After` in whole seconds,
    /// `retry_after` in the body, and `X-RateLimit-Reset-After`.
    Limited {
        /// When it may be tried again, milliseconds.
        retry_after_ms: u64,
        /// What the reset header says, milliseconds.
        reset_after_ms: u64,
        /// `user`, `global` or `shared`.
        scope: String,
    },
    /// The page in HTML of the network in front, in place of an answer.
    Block {
        /// Seconds, in a `Retry-After` header.
        retry_after: u64,
    },
    /// The right answer, late.
    Slow {
        /// By so many milliseconds.
        ms: u64,
    },
    /// Status 200 and the right content type over a body that is not JSON.
    Garbage,
    /// A 302 to another place.
    Redirect {
        /// Where to.
        location: String,
    },
    /// The connection ends in the middle of the body.
    Cut,
    /// A body of so many bytes that never becomes JSON.
    Huge {
        /// Length of the body.
        bytes: u64,
    },
}

impl Fault {
    /// Its name in the request log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Limited { .. } => "limited",
            Self::Block { .. } => "block",
            Self::Slow { .. } => "slow",
            Self::Garbage => "garbage",
            Self::Redirect { .. } => "redirect",
            Self::Cut => "cut",
            Self::Huge { .. } => "huge",
        }
    }
}

/// Which requests a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hits {
    /// The next so many.
    Next(u64),
    /// This share of all, until cleared.
    Share(f64),
}

/// Faults that are switched on at once; more replace the oldest.
const MOST_RULES: usize = 32;

/// The faults of one account, in the order in which they were switched on.
#[derive(Debug)]
pub(crate) struct Faults {
    chance: Chance,
    rules: Vec<(Fault, Hits)>,
}

impl Faults {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { chance, rules: Vec::new() }
    }

    pub(crate) fn switch_on(&mut self, fault: Fault, hits: Hits) {
        if self.rules.len() == MOST_RULES {
            self.rules.remove(0);
        }
        self.rules.push((fault, hits));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The fault that this request meets, if any.
    pub(crate) fn draw(&mut self) -> Option<Fault> {
        let Self { chance, rules } = self;
        let hit = rules.iter_mut().find_map(|(fault, hits)| match hits {
            Hits::Next(0) => None,
            Hits::Next(left) => {
                *left -= 1;
                Some(fault.clone())
            }
            Hits::Share(share) => chance.happens(*share).then(|| fault.clone()),
        });
        rules.retain(|(_, hits)| *hits != Hits::Next(0));
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_for_the_next_requests_ends_by_itself() {
        let mut faults = Faults::new(Chance::of(1, "test"));
        faults.switch_on(Fault::Garbage, Hits::Next(2));
        assert_eq!(
            [faults.draw(), faults.draw(), faults.draw()],
            [Some(Fault::Garbage), Some(Fault::Garbage), None]
        );
        faults.switch_on(Fault::Cut, Hits::Share(1.0));
        assert_eq!(faults.draw(), Some(Fault::Cut));
        faults.clear();
        assert_eq!(faults.draw(), None);
    }
}
