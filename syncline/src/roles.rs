//! `syncline roles`.

use crate::answer::Answer;

/// Prints the statements; whoever may create roles runs them.
pub(crate) fn run() -> Answer {
    Answer::text(include_str!("roles.sql").trim_end().to_owned())
}
