//! Turns platforms' webhooks into work.

fn main() {}
