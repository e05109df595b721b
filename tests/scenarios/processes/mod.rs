//! Stories with real processes: what no task inside a test can show.

mod demo;
mod ends;
mod leaves;
mod secrets;
mod traces;
