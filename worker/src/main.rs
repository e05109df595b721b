//! Takes jobs, fetches records within quota, writes the mirror.

fn main() {}
