//! Keeping a token current, once for the whole fleet.
//!
//! Whoever finds that a token ends soon, or was refused, marks its row in Postgres and asks for
//! new ones; all others wait for what comes of it. The new tokens are committed before they are
//! used. A mark whose process has died is taken over, and the old refresh token tried again.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use url::Url;

use crate::credentials::{Keyring, Place};
use crate::ids::Lane;
use crate::platform::{
    Call, ClientAuth, CurrentToken, NewTokens, PaidRefresh, PlatformError, RefreshError,
    RefreshRequest, TokenKeeper,
};
use crate::store::credentials::{self, Begun, Failure, Origin, RowKey, Sealed, Tokens};

/// A token is renewed when a tenth of its life is left, or this much, whichever is less.
const LONGEST_MARGIN: Duration = Duration::from_hours(1);
/// A token that was renewed less than this ago and is refused: another one would be refused too.
const YOUNG: Duration = Duration::from_mins(1);
/// How long a request waits in place for another worker to renew the token.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the commit of new tokens is tried, while Postgres is away.
const COMMIT_PATIENCE: Duration = Duration::from_secs(20);
/// Between the end of a renewal and the moment at which it counts as dead.
const DEAD_MARGIN: Duration = Duration::from_secs(5);
/// How long a process that stops waits for what it has begun.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);
/// After a renewal failed: this, doubled with each one, up to the longest.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How far ahead an instant may lie.
const A_LONG_TIME: Duration = Duration::from_hours(24 * 3650);
/// After a store or a key failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
const KEY_PAUSE: Duration = Duration::from_mins(1);

/// The renewals that are under way in this process. An answer that is on its way must be written
/// down, whatever becomes of the job that asked. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Renewals(TaskTracker);

impl Renewals {
    /// Waits for those that are under way, ten seconds at most. No call is made any more.
    pub async fn finish(&self) {
        self.0.close();
        if timeout(FINISH_PATIENCE, self.0.wait()).await.is_err() {
            warn!("a token is still being renewed: another process takes it over");
        }
    }
}

/// Our application, as the platform knows it.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) url: Url,
    pub(super) client: ClientAuth,
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
}

/// The token of one account, in Postgres.
pub(super) struct StoredToken {
    pub(super) db: PgPool,
    pub(super) keys: Keyring,
    pub(super) renewals: Renewals,
    pub(super) lane: Lane,
    pub(super) row: RowKey,
    /// `None` where the token lasts.
    pub(super) application: Option<Application>,
    held: Mutex<Option<Held>>,
    /// One at a time in this process.
    turn: tokio::sync::Mutex<()>,
}

/// A token in memory.
#[derive(Clone, Debug)]
struct Held {
    token: CurrentToken,
    /// Before this there is nothing to do about it.
    good_until: Option<Instant>,
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// What is in Postgres, opened, and what is to be done about it.
struct Found {
    tokens: Tokens,
    /// `None` before the first renewal.
    token: Option<CurrentToken>,
    read_at: Instant,
}

impl Found {
    /// When a renewal is due, and when the token ends.
    fn times(&self) -> (Option<Instant>, Option<Instant>) {
        let Some(left) = self.tokens.expires_in else { return (None, None) };
        let life = self.tokens.life.unwrap_or(left).max(0.0);
        let margin = (life / 10.0).min(LONGEST_MARGIN.as_secs_f64());
        (Some(self.read_at + seconds(left - margin)), Some(self.read_at + seconds(left)))
    }

    fn is_under_way(&self, dead_after: Duration) -> bool {
        self.tokens.begun_ago.is_some_and(|ago| seconds(ago) < dead_after)
    }
}

impl StoredToken {
    pub(super) fn new(
        db: PgPool,
        keys: Keyring,
        renewals: Renewals,
        lane: Lane,
        row: RowKey,
        application: Option<Application>,
    ) -> Self {
        let (held, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { db, keys, renewals, lane, row, application, held, turn }
    }

    fn place(&self, what: &'static str) -> Place<'_> {
        Place { lane: &self.lane, row: self.row.origin.as_str(), what }
    }

    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, token: CurrentToken, good_until: Option<Instant>) -> CurrentToken {
        let held = Held { token: token.clone(), good_until };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        token
    }

    async fn find(&self) -> Result<Found, PlatformError> {
        // Before the row is read: what is left of its time is too little rather than too much.
        let read_at = Instant::now();
        let tokens = credentials::tokens(&self.db, self.row).await.map_err(|error| {
            warn!(lane = %self.lane, %error, "the token cannot be read");
            no_token("the store cannot be reached", STORE_PAUSE)
        })?;
        let Some(tokens) = tokens else {
            let reason = "its credentials were removed: add them with syncline connections add";
            return Err(PlatformError::Unauthorized { reason: reason.to_owned() });
        };
        let secret = tokens.token.as_ref().map(|sealed| self.open("token", sealed)).transpose()?;
        let bearer = self.application.is_some();
        let version = tokens.version;
        let token = secret.map(|secret| CurrentToken { secret, version, bearer });
        Ok(Found { tokens, token, read_at })
    }

    /// Nothing is parked because of a key: another process may have it.
    fn open(&self, what: &'static str, sealed: &Sealed) -> Result<SecretString, PlatformError> {
        self.keys.open(self.place(what), &sealed.0).map_err(|error| {
            error!(lane = %self.lane, what, %error, "a secret cannot be opened");
            no_token(&format!("{what}: {error}"), KEY_PAUSE)
        })
    }

    /// Longer than a renewal can take, its commit included.
    fn dead_after(call: &Call<'_>) -> Duration {
        call.whole_timeout() + COMMIT_PATIENCE + DEAD_MARGIN
    }

    /// New tokens: renewed here, or by whoever has begun before. Returns once the row has another
    /// version than `found`.
    async fn renew(&self, mut found: Found, call: &Call<'_>) -> Result<Found, PlatformError> {
        let stale = found.tokens.version;
        let give_up = Instant::now() + PATIENCE;
        loop {
            if found.tokens.version != stale {
                return Ok(found);
            }
            let dead_after = Self::dead_after(call);
            if !found.is_under_way(dead_after) {
                self.begin(&found, call, dead_after).await?;
            } else if Instant::now() >= give_up {
                return Err(no_token("another worker renews it", STORE_PAUSE));
            } else {
                sleep(LOOK_EVERY).await;
            }
            found = self.find().await?;
        }
    }

    /// Marks the row, asks, and writes down what came of it. Does nothing when another was faster.
    async fn begin(
        &self,
        found: &Found,
        call: &Call<'_>,
        dead_after: Duration,
    ) -> Result<(), PlatformError> {
        let tokens = &found.tokens;
        let (Some(application), Some(sealed)) = (&self.application, &tokens.refresh_token) else {
            let reason = "the token is refused, and there is none to renew it with".to_owned();
            return Err(PlatformError::Unauthorized { reason });
        };
        if let Some(refused) = &tokens.refused {
            return Err(PlatformError::Unauthorized { reason: refused.clone() });
        }
        if let Some(wait) = tokens.not_before_in.filter(|wait| *wait > 0.0) {
            return Err(no_token(
                "it could not be renewed, and will be tried again",
                seconds(wait),
            ));
        }
        let request = RefreshRequest {
            url: application.url.clone(),
            client: application.client,
            client_id: application.client_id.clone(),
            client_secret: application.client_secret.clone(),
            refresh_token: self.open("refresh_token", sealed)?,
        };
        let paid = call.pay_refresh().await?;
        let begun = credentials::begin_refresh(&self.db, self.row, tokens.version, dead_after)
            .await
            .map_err(|error| {
                warn!(lane = %self.lane, %error, "the renewal of a token cannot be marked");
                no_token("the store cannot be reached", STORE_PAUSE)
            })?;
        let Some(begun) = begun else { return Ok(()) };
        let renewal = Renewal {
            db: self.db.clone(),
            keys: self.keys.clone(),
            lane: self.lane.clone(),
            row: self.row,
            version: tokens.version,
            failures: tokens.failures,
            begun,
        };
        // Its own task: whoever drops the call must not lose the answer.
        let task = self.renewals.0.spawn(renewal.run(paid, request));
        match task.await {
            Ok((permit, signal, outcome)) => {
                call.settle_refresh(permit, signal).await;
                outcome
            }
            Err(_) => Err(no_token("its renewal was broken off", STORE_PAUSE)),
        }
    }
}

#[async_trait]
impl TokenKeeper for StoredToken {
    async fn current(&self, call: &Call<'_>) -> Result<CurrentToken, PlatformError> {
        let fresh = |held: &Held| held.good_until.is_none_or(|until| Instant::now() < until);
        if let Some(held) = self.held().filter(fresh) {
            return Ok(held.token);
        }
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held().filter(fresh) {
            return Ok(held.token);
        }
        let found = self.find().await?;
        let (due, ends) = found.times();
        let Some(token) = found.token.clone() else {
            return self.take(&self.renew(found, call).await?);
        };
        if due.is_none_or(|due| Instant::now() < due) {
            return Ok(self.hold(token, due));
        }
        let works = || ends.is_some_and(|ends| Instant::now() < ends);
        let until = |pause| ends.map(|ends| ends.min(Instant::now() + pause));
        if works() && found.is_under_way(Self::dead_after(call)) {
            return Ok(self.hold(token, until(STORE_PAUSE)));
        }
        match self.renew(found, call).await {
            Ok(found) => self.take(&found),
            Err(error) if works() => {
                warn!(lane = %self.lane, %error, "the token ends soon and is not renewed");
                let refused = matches!(error, PlatformError::Unauthorized { .. });
                Ok(self.hold(token, until(if refused { KEY_PAUSE } else { PAUSE })))
            }
            Err(error) => Err(error),
        }
    }

    async fn after_refusal(
        &self,
        version: i64,
        call: &Call<'_>,
    ) -> Result<Option<CurrentToken>, PlatformError> {
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held().filter(|held| held.token.version > version) {
            return Ok(Some(held.token));
        }
        let found = self.find().await?;
        if found.tokens.version > version && found.token.is_some() {
            return self.take(&found).map(Some);
        }
        let young = found.tokens.age.is_some_and(|age| seconds(age) < YOUNG);
        if self.application.is_none() || young {
            return Ok(None);
        }
        let found = self.renew(found, call).await?;
        self.take(&found).map(Some)
    }

    fn version(&self) -> Option<i64> {
        self.held().map(|held| held.token.version)
    }

    fn forget(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl StoredToken {
    fn take(&self, found: &Found) -> Result<CurrentToken, PlatformError> {
        let (due, _) = found.times();
        match found.token.clone() {
            Some(token) => Ok(self.hold(token, due)),
            None => Err(no_token("none was stored", STORE_PAUSE)),
        }
    }
}

/// One request for new tokens, from its mark to its commit.
struct Renewal {
    db: PgPool,
    keys: Keyring,
    lane: Lane,
    row: RowKey,
    version: i64,
    failures: i32,
    begun: Begun,
}

type Ended = (crate::quota::Permit, Option<crate::quota::RateSignal>, Result<(), PlatformError>);

impl Renewal {
    async fn run(self, paid: PaidRefresh, request: RefreshRequest) -> Ended {
        let (answer, permit, signal) = paid.send(&request).await;
        let outcome = match answer {
            Ok(tokens) => self.commit(&tokens).await,
            Err(error) => Err(self.failed(&error).await),
        };
        (permit, signal, outcome)
    }

    /// Nobody uses the new tokens before they are written down. While Postgres is away they are
    /// held here and tried again: nothing else has them.
    async fn commit(&self, new: &NewTokens) -> Result<(), PlatformError> {
        let seal = |what, secret| {
            let place = Place { lane: &self.lane, row: self.row.origin.as_str(), what };
            self.keys.seal(place, secret).map(Sealed)
        };
        let token = seal("token", &new.token);
        let refresh_token =
            new.refresh_token.as_ref().map(|t| seal("refresh_token", t)).transpose();
        let (Ok(token), Ok(refresh_token)) = (token, refresh_token) else {
            error!(lane = %self.lane, "new tokens cannot be sealed and are lost");
            return Err(no_token("the system gives no random bytes", PAUSE));
        };
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(2))
            .without_max_times()
            .with_total_delay(Some(COMMIT_PATIENCE));
        let write = || {
            credentials::finish_refresh(
                &self.db,
                self.row,
                self.version,
                self.begun,
                &token,
                refresh_token.as_ref(),
                new.expires_in,
            )
        };
        let written = timeout(
            COMMIT_PATIENCE,
            write.retry(backoff).notify(|error, _| {
                warn!(lane = %self.lane, %error, "new tokens are not written down yet");
            }),
        );
        match written.await {
            Ok(Ok(true)) => {
                info!(lane = %self.lane, version = self.version + 1, "token renewed");
                Ok(())
            }
            Ok(Ok(false)) => {
                warn!(lane = %self.lane, "new tokens came too late: others are there already");
                Ok(())
            }
            Ok(Err(_)) | Err(_) => {
                error!(lane = %self.lane, "new tokens could not be written down and are lost");
                Err(no_token("the store cannot be reached", PAUSE))
            }
        }
    }

    async fn failed(&self, error: &RefreshError) -> PlatformError {
        let doublings = u32::try_from(self.failures).unwrap_or_default().min(16);
        let usual = PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let (lost, pause, refused) = match error {
            RefreshError::Refused { .. } => (false, usual, Some(self.remedy(error))),
            RefreshError::Failed { retry_after, .. } => {
                (false, retry_after.unwrap_or(usual).max(usual), None)
            }
            RefreshError::Lost { .. } => (true, usual, None),
        };
        warn!(lane = %self.lane, %error, "token not renewed");
        let failure = Failure { lost, pause, refused: refused.as_deref() };
        let noted =
            credentials::fail_refresh(&self.db, self.row, self.version, self.begun, failure).await;
        if let Err(error) = noted {
            warn!(lane = %self.lane, %error, "a failed renewal is not written down");
        }
        match refused {
            Some(reason) => PlatformError::Unauthorized { reason },
            None => no_token(&error.to_string(), pause),
        }
    }

    /// What a person has to do about a refusal.
    fn remedy(&self, error: &RefreshError) -> String {
        let lane = &self.lane;
        let why = match self.begun.lost_at {
            Some(at) => format!(
                "; the answer to a renewal of {} was lost, and with it, it seems, the refresh token that is valid now",
                at.strftime("%F %TZ")
            ),
            None => String::new(),
        };
        let how = match self.row.origin {
            Origin::Added => {
                format!("run syncline connections add {lane} with the new refresh token")
            }
            Origin::Configured => {
                format!("put the new refresh token where connections.{lane}.oauth says and restart")
            }
        };
        format!(
            "{error}{why}: check the application's id and secret, connect the account anew, {how}, then run syncline connections unpark {lane}"
        )
    }
}

fn no_token(what: &str, retry_after: Duration) -> PlatformError {
    PlatformError::NoToken { what: what.to_owned(), retry_after }
}

/// As Postgres gives them; none where there are less than none.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).map_or(A_LONG_TIME, |time| time.min(A_LONG_TIME))
}
