//! Stands in for the platforms.

fn main() {}
