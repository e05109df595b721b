//! Processes that are killed, frozen and replaced under load.

use std::time::Duration;

use anyhow::{Context, bail};
use simulator::{GateRule, Platform, RecordType};
use sqlx::PgPool;
use tests::fault::{Crew, Handover, Member};
use tests::scene::{Scene, Setup};
use tokio::time::timeout;

/// Of the usual settings of a story.
const LEASE: Duration = Duration::from_secs(2);
const A_WHILE: Duration = Duration::from_millis(700);
/// Said by who cannot reach Postgres.
const WAITS: &str = "cannot reach Postgres yet";

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn workers_are_killed(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    let mut handovers = Vec::new();
    for number in [1, 2, 1, 2] {
        // Some requests are under way at the kill, however quickly the others are answered.
        crew.scene.platforms.gate(held_of(Platform::Eventbrite, 4));
        crew.busy(A_WHILE).await?;
        let watch = crew.kill_and_watch(Member::Worker(number)).await?;
        crew.scene.platforms.open_gate();
        crew.begin(Member::Worker(number))?;
        let (handover, busy) = tokio::join!(watch.handover(), crew.busy(A_WHILE));
        busy?;
        handovers.push(handover?);
    }
    crew.recovers("a worker is killed").await?;
    are_in_time(&handovers);
    Ok(())
}

/// Nothing else happens then that would have the others look for work.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_is_killed_while_the_others_have_nothing_to_do(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    let mut handovers = Vec::new();
    // One of two has the job: some of these kill the other one.
    for number in [1, 2, 1, 2, 1, 2, 1, 2] {
        crew.idle(2).await?;
        crew.scene.platforms.gate(held_of(Platform::Klaviyo, 1));
        crew.change_one(Platform::Klaviyo, RecordType::Profile)?;
        if !crew.scene.platforms.wait_until_held(1, A_WHILE * 20).await {
            bail!("nobody asks: {}", crew.log());
        }
        let watch = crew.kill_and_watch(Member::Worker(number)).await?;
        crew.scene.platforms.open_gate();
        handovers.push(watch.handover().await?);
        crew.begin(Member::Worker(number))?;
        crew.recovers("a worker is killed, the others are idle").await?;
    }
    are_in_time(&handovers);
    Ok(())
}

/// So many of the next answers are held.
fn held_of(platform: Platform, answers: u64) -> GateRule {
    let prefix = match platform {
        Platform::Eventbrite => "/v3/",
        _ => "/api/",
    };
    GateRule { platform, prefix: prefix.to_owned(), hold: Some(answers) }
}

/// Others have the jobs of the dead within lease + 2 s, and what this machine held up the story
/// itself.
fn are_in_time(handovers: &[Handover]) {
    eprintln!("{handovers:#?}");
    assert!(handovers.iter().any(|handover| handover.jobs > 0), "no kill left a lease");
    for handover in handovers {
        assert!(handover.late < Duration::from_secs(2) + handover.blind, "{handover:?}");
        assert!(handover.last < LEASE + Duration::from_secs(2) + handover.blind, "{handover:?}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_freezes_for_longer_than_its_lease_and_wakes_up(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.member(Member::Worker(1))?.signal("STOP").await?;
    crew.busy(LEASE + A_WHILE).await?;
    crew.member(Member::Worker(1))?.signal("CONT").await?;
    crew.busy(A_WHILE).await?;
    crew.recovers("a worker freezes past its lease").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn both_schedulers_are_killed_one_after_the_other(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    for number in [1, 2] {
        crew.busy(A_WHILE).await?;
        crew.kill(Member::Scheduler(number)).await?;
        crew.begin(Member::Scheduler(number))?;
    }
    crew.busy(A_WHILE).await?;
    crew.recovers("a scheduler is killed").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_ingress_is_killed_and_platforms_send_again(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    for _ in ["once", "twice"] {
        crew.busy(A_WHILE).await?;
        crew.kill(Member::Ingress).await?;
        crew.busy(A_WHILE).await?;
        crew.begin(Member::Ingress)?;
    }
    crew.recovers("the ingress is killed").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn everybody_is_killed_at_once(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    for member in Member::ALL {
        crew.kill(member).await?;
    }
    crew.busy(A_WHILE).await?;
    for member in Member::ALL {
        crew.begin(member)?;
    }
    crew.recovers("all processes are killed").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn everybody_is_replaced_as_by_a_deploy(db: PgPool) -> anyhow::Result<()> {
    // No lease runs out here, however busy this machine is.
    let settings = "[worker]\nmax_attempts = 1\nlease = \"30s\"\nheartbeat = \"5s\"\n";
    let mut crew = Crew::start_with(db, settings).await?;
    for member in Member::ALL {
        crew.busy(A_WHILE).await?;
        assert_eq!(crew.stop(member).await?.code(), Some(0), "{member:?}");
        crew.begin(member)?;
    }
    crew.recovers("all processes are replaced").await?;
    Ok(())
}

/// A database that falls silent keeps nobody from ending at the second signal.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_second_signal_ends_every_process_while_postgres_is_silent(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.to_postgres.silence();
    crew.busy(A_WHILE).await?;
    for (stopped, member) in (1..).zip(Member::ALL) {
        crew.member(member)?.signal("TERM").await?;
        // Two that come at once are one.
        crew.scene
            .until("it has heard the first", async |scene| {
                let log = std::fs::read_to_string(scene.folder.path().join("log"))?;
                Ok(log.matches("nothing new begins").count() == stopped)
            })
            .await?;
        let program = crew.member(member)?;
        // It may have ended with the first.
        drop(program.signal("TERM").await);
        let ended = timeout(Duration::from_secs(12), program.end()).await;
        assert!(ended.is_ok(), "{member:?} does not end");
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_process_that_waits_for_a_store_stops_when_it_is_told(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let nowhere = [("SYNCLINE__POSTGRES__URL", "postgres://a:b@127.0.0.1:1/c")];
    let log = scene.folder.path().join("log");
    let tries = || std::fs::read_to_string(&log).map_or(0, |log| log.matches(WAITS).count());
    for name in ["worker", "console"] {
        let before = tries();
        let mut process = scene.start_program(&format!("syncline-{name}"), &nowhere)?;
        // It has begun to listen to signals by then.
        scene.until("it waits", async |_| Ok(tries() > before)).await?;
        assert!(process.ended()?.is_none(), "{name} waits");
        let ended = timeout(Duration::from_secs(12), process.stop()).await;
        let ended = ended.with_context(|| format!("{name} needs a store to stop"))??;
        assert_eq!(ended.code(), Some(0), "{name}");
    }
    Ok(())
}
