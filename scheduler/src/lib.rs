//! Decides what to look at.
