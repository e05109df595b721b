//! Tokens that do not last: renewed once for the whole fleet, kept across every crash, shown to
//! nobody.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::credentials;
use common::fleet::{Connection, Fleet, open_lane};
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::lifecycle::Lifecycle;
use common::platform::{Call, PlatformError};
use common::queue::PermitReport;
use common::store::connections::{self, Parking};
use common::store::credentials::Origin;
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tempfile::TempDir;
use tests::token_endpoint::{Answers, TokenEndpoint};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing_subscriber::fmt::MakeWriter;
use url::Url;
use uuid::Uuid;
use worker::batch::Worker;
use worker::handlers::Tasks;
use worker::permits::BatchPermits;

const LANE: &str = "klaviyo/main";
const OLD: &str = "the-token-of-yesterday";
const SEED: &str = "the-refresh-token-of-the-file";

/// A platform, and the configuration of a fleet in front of it.
struct Story {
    db: PgPool,
    endpoint: TokenEndpoint,
    folder: TempDir,
    key: String,
    config: Config,
}

impl Story {
    /// The platform takes another token than the fleet has, but its refresh token.
    async fn new(db: PgPool) -> anyhow::Result<Self> {
        let endpoint = TokenEndpoint::start("a-token-that-nobody-has", SEED).await?;
        let folder = tempfile::tempdir()?;
        let key = credentials::new_key()?.expose_secret().to_owned();
        for (name, secret) in
            [("token", OLD), ("refresh", SEED), ("client", "app-secret"), ("key", &key)]
        {
            std::fs::write(folder.path().join(name), secret)?;
        }
        let config = config(&db, folder.path(), &endpoint.url)?;
        Ok(Self { db, endpoint, folder, key, config })
    }

    async fn fleet(&self) -> anyhow::Result<Member> {
        Member::open(&self.config).await
    }

    async fn run(&self, sql: &'static str) -> anyhow::Result<u64> {
        Ok(sqlx::query(sql).execute(&self.db).await?.rows_affected())
    }

    async fn until(&self, what: &str, sql: &'static str) -> anyhow::Result<()> {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&self.db).await? {
            anyhow::ensure!(Instant::now() < give_up, "it does not happen that {what}");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// How often tokens were made, and how often somebody asked for some.
    fn renewed(&self) -> (u32, u32) {
        let platform = self.endpoint.platform();
        (platform.renewed, platform.asked)
    }
}

fn config(db: &PgPool, folder: &Path, base_url: &Url) -> anyhow::Result<Config> {
    let mut url: Url = std::env::var("DATABASE_URL")?.parse()?;
    url.set_path(db.connect_options().get_database().context("a database")?);
    let environment = BTreeMap::from([
        ("REDIS_URL".to_owned(), std::env::var("REDIS_URL")?),
        ("DATABASE_URL".to_owned(), url.to_string()),
        ("SYNCLINE__REDIS__NAMESPACE".to_owned(), Uuid::now_v7().to_string()),
    ]);
    let folder = folder.display();
    let text = format!(
        r#"
credentials.key_file = "{folder}/key"
api = {{ whole_timeout = "3s", read_timeout = "3s", connect_timeout = "1s" }}
worker = {{ listen = "127.0.0.1:0" }}
[connections."{LANE}"]
base_url = "{base_url}"
token_file = "{folder}/token"
oauth = {{ client_id = "app", client_secret_file = "{folder}/client", refresh_token_file = "{folder}/refresh" }}
quotas.steady = {{ limit = 6000, window = "1m", burst = 100, headroom = 5 }}
"#
    );
    Ok(Config::from_parts(Some(("story.toml", &text)), &environment)?)
}

/// One process of a fleet.
#[derive(Clone)]
struct Member {
    fleet: Fleet,
    connection: Arc<Connection>,
    worker: Arc<Worker>,
}

impl Member {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let fleet = Fleet::open(config).await?;
        let lane: Lane = LANE.parse()?;
        let connection =
            fleet.connections.get(&lane).map(Arc::clone).context("it is configured")?;
        open_lane(&fleet, &lane).await?;
        let worker = Arc::new(worker::worker(config, fleet.clone(), Arc::new(Tasks))?);
        Ok(Self { fleet, connection, worker })
    }

    /// One authenticated request, paid with real permits.
    async fn ask(&self) -> anyhow::Result<Result<(), PlatformError>> {
        let (queue, lane) = (&self.fleet.queue, self.connection.lane());
        let first = loop {
            match queue.acquire(lane, "scan@profile", Priority::Manual).await? {
                Ok(permit) => break permit,
                Err(wait) => sleep(wait).await,
            }
        };
        let permits = BatchPermits::new(&self.worker, &self.connection, Priority::Manual, first);
        let call = Call::new(&self.worker.api, &self.connection.account, &permits, "scan@profile");
        let asked = self.connection.platform.probe(&call).await;
        let reports: Vec<PermitReport> = permits.reports();
        queue.observe(lane, &reports).await?;
        Ok(asked)
    }

    async fn works(&self) -> anyhow::Result<()> {
        Ok(self.ask().await??)
    }
}

fn refusal(asked: Result<(), PlatformError>) -> anyhow::Result<String> {
    match asked {
        Err(PlatformError::Unauthorized { reason }) => Ok(reason),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

fn no_token(asked: Result<(), PlatformError>) -> anyhow::Result<String> {
    match asked {
        Err(PlatformError::NoToken { what, .. }) => Ok(what),
        other => anyhow::bail!("not without a token: {other:?}"),
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn fleets_that_are_refused_at_once_renew_the_token_once(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    let mut asking = JoinSet::new();
    for member in [story.fleet().await?, story.fleet().await?, story.fleet().await?] {
        for _ in 0..4 {
            let member = member.clone();
            asking.spawn(async move { member.works().await });
        }
    }
    while let Some(ended) = asking.join_next().await {
        ended??;
    }
    assert_eq!(story.renewed(), (1, 1));
    // One that starts later has the new token at once.
    let refused = story.endpoint.platform().refused;
    story.fleet().await?.works().await?;
    assert_eq!((story.renewed(), story.endpoint.platform().refused), ((1, 1), refused));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_token_is_renewed_before_it_ends_and_nobody_is_refused(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    story.fleet().await?.works().await?;
    let refused = story.endpoint.platform().refused;
    // It lasts an hour; fifty-five minutes of it pass.
    story
        .run(
            "update connection_credentials set expires_at = expires_at - interval '55 minutes',
                      refreshed_at = refreshed_at - interval '55 minutes'",
        )
        .await?;
    let member = story.fleet().await?;
    member.works().await?;
    member.works().await?;
    assert_eq!(story.renewed(), (2, 2));
    assert_eq!(story.endpoint.platform().refused, refused);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_token_that_ends_soon_is_used_while_it_cannot_be_renewed(
    db: PgPool,
) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    story.fleet().await?.works().await?;
    story
        .run(
            "update connection_credentials set expires_at = expires_at - interval '55 minutes',
                      refreshed_at = refreshed_at - interval '55 minutes'",
        )
        .await?;
    story.endpoint.platform().answers = Answers::Redirect;
    let member = story.fleet().await?;
    member.works().await?;
    member.works().await?;
    // The redirect was not followed, and the endpoint is not asked with every request.
    assert_eq!(story.renewed(), (1, 2));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_late_refusal_renews_nothing_and_parks_nothing(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    let (late, other, third) = (story.fleet().await?, story.fleet().await?, story.fleet().await?);
    for member in [&other, &late, &third] {
        member.works().await?;
    }
    // All have version 2; the other renews it to 3.
    story.endpoint.platform().token = "revoked".to_owned();
    story
        .run("update connection_credentials set refreshed_at = refreshed_at - interval '1 hour'")
        .await?;
    other.works().await?;
    assert_eq!(story.renewed(), (2, 2));
    // Refused with version 2, it finds 3 and renews nothing.
    third.works().await?;
    assert_eq!(story.renewed(), (2, 2));
    let (id, old) = (late.connection.id, late.connection.account.token.version());
    let parked =
        connections::park_refused(&story.db, id, Some(Origin::Configured), old, "401").await?;
    assert_eq!((old, parked), (Some(2), Parking::Renewed));
    // A worker then forgets what it has, and reads the newer one without being refused again.
    let refused = story.endpoint.platform().refused;
    late.connection.account.token.forget();
    late.works().await?;
    assert_eq!(story.endpoint.platform().refused, refused);
    assert_eq!(story.renewed(), (2, 2));
    let new = late.connection.account.token.version();
    let parked =
        connections::park_refused(&story.db, id, Some(Origin::Configured), new, "401").await?;
    assert_eq!((new, parked), (Some(3), Parking::Parked));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_token_that_is_new_and_refused_is_not_renewed_again(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    let member = story.fleet().await?;
    member.works().await?;
    story.endpoint.platform().token = "revoked".to_owned();
    for _ in 0..3 {
        assert!(refusal(member.ask().await?)?.starts_with("401"));
    }
    assert_eq!(story.renewed(), (1, 1));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_answer_that_is_lost_is_told_with_what_to_do(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    let member = story.fleet().await?;
    story.endpoint.platform().answers = Answers::NotAfterRotating;
    let what = no_token(member.ask().await?)?;
    assert!(what.contains("may have been renewed"), "{what}");
    // Nothing hammers meanwhile.
    no_token(member.ask().await?)?;
    assert_eq!(story.renewed(), (1, 1));

    // The old refresh token is tried again, and was used.
    story.endpoint.platform().answers = Answers::Properly;
    story.run("update connection_credentials set refresh_not_before = null").await?;
    let reason = refusal(member.ask().await?)?;
    for part in [
        "invalid_grant",
        "was lost",
        "connections.klaviyo/main.oauth",
        "connections unpark klaviyo/main",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    // It is not tried a third time, by nobody.
    assert_eq!(refusal(story.fleet().await?.ask().await?)?, reason);
    assert_eq!(story.renewed(), (1, 2));

    // A person connects the account anew: another refresh token in the file.
    story.endpoint.platform().refresh_token = "a-brand-new-refresh-token".to_owned();
    std::fs::write(story.folder.path().join("refresh"), "a-brand-new-refresh-token")?;
    story.fleet().await?.works().await?;
    assert_eq!(story.renewed().0, 2);
    Ok(())
}

/// Opens a fleet in a runtime of its own, lets it ask for new tokens, and ends all of it at once.
async fn dies_while_it_asks(story: &Story) -> anyhow::Result<()> {
    let doomed =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build()?;
    let config = story.config.clone();
    let asking = doomed.spawn(async move { Member::open(&config).await?.works().await });
    let asked = story.endpoint.platform().asked;
    let give_up = Instant::now() + Duration::from_secs(20);
    while story.endpoint.platform().asked == asked {
        anyhow::ensure!(Instant::now() < give_up, "it does not ask");
        sleep(Duration::from_millis(5)).await;
    }
    doomed.shutdown_background();
    drop(asking);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn whoever_dies_before_the_platform_answers_is_made_up_for(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    story.endpoint.platform().answers = Answers::Never;
    dies_while_it_asks(&story).await?;
    story.endpoint.platform().answers = Answers::Properly;
    // Until the mark counts as dead, nobody else asks.
    let other = story.fleet().await?;
    assert_eq!(no_token(other.ask().await?)?, "another worker renews it");
    assert_eq!(story.renewed(), (0, 1));
    story.run("update connection_credentials set refresh_begun_at = refresh_begun_at - interval '1 hour'").await?;
    other.works().await?;
    assert_eq!(story.renewed(), (1, 2));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn whoever_dies_between_answer_and_commit_leaves_words_for_a_person(
    db: PgPool,
) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    // The platform makes new tokens once nobody is there to take them.
    story.endpoint.platform().answers = Answers::AfterTheGate;
    dies_while_it_asks(&story).await?;
    {
        let mut platform = story.endpoint.platform();
        platform.answers = Answers::Properly;
        platform.refresh_token = "only-the-dead-one-knows".to_owned();
    }
    story.run("update connection_credentials set refresh_begun_at = refresh_begun_at - interval '1 hour'").await?;
    let reason = refusal(story.fleet().await?.ask().await?)?;
    assert!(reason.contains("was lost") && reason.contains("connect the account anew"), "{reason}");
    let kept =
        "select refresh_token is not null and refused is not null from connection_credentials";
    story.until("the old refresh token is kept", kept).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_job_that_is_dropped_does_not_lose_the_answer(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    let member = story.fleet().await?;
    story.endpoint.platform().answers = Answers::AfterTheGate;
    {
        let ask = member.ask();
        tokio::pin!(ask);
        while story.endpoint.platform().asked == 0 {
            anyhow::ensure!(timeout(Duration::from_millis(5), &mut ask).await.is_err(), "it ended");
        }
    }
    story.endpoint.open_gate();
    member.fleet.renewals.finish().await;
    story.fleet().await?.works().await?;
    assert_eq!(story.renewed(), (1, 1));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_refused_renewal_parks_the_connection_with_what_to_do(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    story.endpoint.platform().refresh_token = "another".to_owned();
    let member = story.fleet().await?;
    let job = Job {
        lane: LANE.parse()?,
        task: Task::Check { record_type: "profile".into(), external_id: "01J".into() },
        priority: Priority::Manual,
        trace: String::new(),
    };
    member.fleet.queue.enqueue(&[job]).await?;
    let lifecycle = Lifecycle::manual(Duration::from_secs(5));
    let mut worker = JoinSet::new();
    let (config, stop) = (story.config.clone(), lifecycle.clone());
    worker.spawn(async move { worker::run(&config, &stop).await });
    let parked = "select exists (select from connections where parked_reason like
        '%invalid_grant%connect the account anew%connections unpark klaviyo/main%')";
    story.until("it is parked with what to do", parked).await?;
    lifecycle.stop();
    while let Some(ended) = worker.join_next().await {
        ended??;
    }
    assert_eq!(story.renewed(), (0, 1));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn with_the_wrong_key_nothing_starts_and_nothing_is_lost(db: PgPool) -> anyhow::Result<()> {
    let story = Story::new(db).await?;
    story.fleet().await?.works().await?;
    // An added connection, as if by the command line: its values are those of the other row.
    story
        .run(
            "insert into connections (lane, account, endpoint_hash)
               values ('klaviyo/moved', '', sha256('moved'))",
        )
        .await?;
    story
        .run(
            "insert into connection_credentials (connection_id, origin, settings, token)
               select c.id, 'added', '{}', token from connections c, connection_credentials
                where c.lane = 'klaviyo/moved'",
        )
        .await?;
    // A value that was moved does not open: that connection is left out, the others work.
    let member = story.fleet().await?;
    assert!(member.fleet.connections.get(&"klaviyo/moved".parse()?).is_none());
    member.works().await?;

    std::fs::write(story.folder.path().join("key"), credentials::new_key()?.expose_secret())?;
    let error = format!("{:#}", Fleet::open(&story.config).await.err().context("it opens")?);
    assert!(
        error.contains("klaviyo/moved") && error.contains("add that key as a further line"),
        "{error}"
    );
    assert!(!error.contains(&story.key));
    story.run("delete from connection_credentials where origin = 'added'").await?;
    let what = no_token(story.fleet().await?.ask().await?)?;
    assert!(what.contains("sealed under the key"), "{what}");

    std::fs::write(story.folder.path().join("key"), &story.key)?;
    story.fleet().await?.works().await?;
    assert_eq!(story.renewed(), (1, 1));
    Ok(())
}

/// What is logged, by everything.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn no_secret_is_shown_by_logs_spans_errors_or_debug(db: PgPool) -> anyhow::Result<()> {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(captured.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let story = Story::new(db).await?;
    let member = story.fleet().await?;
    member.works().await?;
    story.endpoint.platform().answers = Answers::NotAfterRotating;
    story
        .run("update connection_credentials set refreshed_at = refreshed_at - interval '1 hour'")
        .await?;
    story.endpoint.platform().token = "revoked".to_owned();
    let lost = member.ask().await?;
    story.endpoint.platform().answers = Answers::Properly;
    story.run("update connection_credentials set refresh_not_before = null").await?;
    let refused = member.ask().await?;
    drop(guard);

    let shown = format!(
        "{lost:?} {refused:?} {:?} {:?} {:?} {}",
        member.fleet,
        member.connection.account,
        story.config,
        String::from_utf8_lossy(&captured.0.lock().unwrap()),
    );
    assert!(shown.contains("token renewed") && shown.contains("POST token endpoint"));
    let mut secrets = story.endpoint.platform().secrets.clone();
    secrets.extend([OLD, "app-secret", "YXBwOmFwcC1zZWNyZXQ", &story.key].map(str::to_owned));
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} is shown");
    }
    Ok(())
}
