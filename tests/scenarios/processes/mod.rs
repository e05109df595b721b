//! Stories with real processes: what no task inside a test can show.

mod ends;
mod traces;
