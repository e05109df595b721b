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
    let mut failure: Option<PlatformError> = None;
    for id in ids {
        if failure.is_none() {
            match look(id).await {
                Ok(found) => {
                    looks.push(found);
                    continue;
                }
                Err(error) => failure = Some(error),
            }
        }
        looks.push(match &failure {
            Some(
                PlatformError::NoPermit(_)
                | PlatformError::NoToken { .. }
                | PlatformError::Throttled { .. },
            )
            | None => Look::Postponed(id.clone()),
            Some(error) => {
                Look::unclear(id, format!("not in the answer, and not confirmed: {error}"))
            }
        });
    }
    looks
}
