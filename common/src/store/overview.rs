//! Counts for people.
