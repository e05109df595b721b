//! The token of an account, and who gives it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::platform::{Call, PlatformError};

/// The token of an account: one that lasts, or one that is renewed. Cheap to clone.
#[derive(Clone)]
pub enum Token {
    /// It lasts until a person changes it.
    Fixed(SecretString),
    /// Whoever keeps it gives it, request by request.
    Kept(Arc<dyn TokenKeeper>),
}

impl From<SecretString> for Token {
    fn from(token: SecretString) -> Self {
        Self::Fixed(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Kept(_) => "Kept",
        })
    }
}

/// A token that can be sent.
#[derive(Clone, Debug)]
pub struct CurrentToken {
    /// The token itself.
    pub secret: SecretString,
    /// Which one it is: grows with each that takes the place of another.
    pub version: i64,
    /// It came from OAuth: sent as a bearer token, whatever else the platform has.
    pub bearer: bool,
}

/// Keeps the token of one account current, together with all others that do.
#[async_trait]
pub trait TokenKeeper: Send + Sync {
    /// The token to send now; renewed first when it is about to expire.
    ///
    /// - `call`: pays for the request that renews it.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoToken`] when there is none for now, [`PlatformError::Unauthorized`] when
    /// there will be none until a person acts.
    async fn current(&self, call: &Call<'_>) -> Result<CurrentToken, PlatformError>;

    /// The token to send after the platform refused that of `version`; `None` when there is no
    /// other, and a new one would be refused as well.
    ///
    /// # Errors
    ///
    /// As [`Self::current`].
    async fn after_refusal(
        &self,
        version: i64,
        call: &Call<'_>,
    ) -> Result<Option<CurrentToken>, PlatformError>;

    /// The version that was given last; `None` before the first.
    fn version(&self) -> Option<i64>;

    /// Reads the token anew before it is given again: there is a newer one.
    fn forget(&self);
}

impl Token {
    pub(super) async fn current(&self, call: &Call<'_>) -> Result<CurrentToken, PlatformError> {
        match self {
            Self::Fixed(secret) => {
                Ok(CurrentToken { secret: secret.clone(), version: 0, bearer: false })
            }
            Self::Kept(keeper) => keeper.current(call).await,
        }
    }

    pub(super) async fn after_refusal(
        &self,
        version: i64,
        call: &Call<'_>,
    ) -> Result<Option<CurrentToken>, PlatformError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Kept(keeper) => keeper.after_refusal(version, call).await,
        }
    }

    /// There is a newer one than was sent last.
    pub fn forget(&self) {
        if let Self::Kept(keeper) = self {
            keeper.forget();
        }
    }

    /// The version that was sent last, where versions are counted.
    pub fn version(&self) -> Option<i64> {
        match self {
            Self::Fixed(_) => None,
            Self::Kept(keeper) => keeper.version(),
        }
    }
}
