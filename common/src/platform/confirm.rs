//! Looking one by one at what the answer to a batch left out.

use crate::ids::ExternalId;
use crate::platform::{Look, PlatformError};

/// Looks at each of `ids` with a request of its own: absence from a list is no proof that a
/// record is gone.
///
/// The first failure ends it and leaves the rest unclear, so that a platform in trouble is not
/// asked a hundred times more.
pub(super) async fn confirm<'a, F, L>(ids: Vec<&'a ExternalId>, look: F) -> Vec<Look>
where
    F: Fn(&'a ExternalId) -> L,
    L: Future<Output = Result<Look, PlatformError>>,
{
    let mut looks = Vec::with_capacity(ids.len());
    let mut failure: Option<String> = None;
    for id in ids {
        looks.push(match &failure {
            Some(reason) => Look::unclear(id, reason),
            None => look(id).await.unwrap_or_else(|error| {
                let reason = format!("not in the answer, and not confirmed: {error}");
                failure = Some(reason.clone());
                Look::unclear(id, reason)
            }),
        });
    }
    looks
}
