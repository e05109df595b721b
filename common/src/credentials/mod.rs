//! Secrets at rest: sealed under a key that Postgres never sees, and bound to the place where they
//! stand.

mod key;
mod seal;
#[cfg(test)]
mod tests;

pub use key::{BadKey, KeyId, NoRandomness, new_endpoint_id, new_key};
pub use seal::{Keyring, OpenError, Place};
