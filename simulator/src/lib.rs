//! Stands in for the platforms.
