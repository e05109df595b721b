//! What must hold when something breaks, with real processes, servers and sockets.

// `cfg(test)` tells the lints that what the tests share may unwrap too.
#[cfg(test)]
mod leadership;
