//! Shows people what is going on.

fn main() {}
