//! What must hold when something breaks, with real processes, servers and sockets. After each story
//! the ledger is drawn up: lost 0, applied twice 0, over quota 0.

// `cfg(test)` tells the lints that what the tests share may unwrap too.
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod fail_over;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod offers;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod platforms;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod strangers;
