//! Decides what to look at.

fn main() {}
