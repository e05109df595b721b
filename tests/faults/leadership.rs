//! Two schedulers: one leads.

use std::time::Duration;

use common::store::leadership::{self, Leadership};
use sqlx::PgPool;
use tests::program::Program;
use tests::scene::{Scene, Setup};
use tokio::time::{Instant, sleep};

const SCHEDULER: &str = "syncline-scheduler";
/// Of the usual settings of a story.
const LEASE: Duration = Duration::from_secs(3);
/// What is promised of a leader that dies, however busy the machine is.
const WITHIN: Duration = Duration::from_secs(15);

/// Who leads, or led last.
async fn leader(scene: &Scene) -> anyhow::Result<Leadership> {
    Ok(leadership::current(&scene.db).await?.expect("somebody has led"))
}

/// Waits until somebody leads for the `term`th time, and says how long that took.
async fn term_begins(scene: &mut Scene, term: i64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    scene
        .until("a term begins", async |scene| {
            let current = leadership::current(&scene.db).await?;
            Ok(current.is_some_and(|current| current.leads && current.term == term))
        })
        .await?;
    Ok(begun.elapsed())
}

/// Two that run, the leader first.
async fn two_schedulers(scene: &mut Scene) -> anyhow::Result<(Program, Program)> {
    let first = scene.start_program(SCHEDULER, &[])?;
    term_begins(scene, 1).await?;
    let second = scene.start_program(SCHEDULER, &[])?;
    // It waits for its turn, with a session that says so.
    scene.until("the second waits", async |scene| Ok(scene.count(SEATS).await? == 2)).await?;
    assert!(leader(scene).await?.leader.ends_with(&pid(&first)));
    Ok((first, second))
}

/// Sessions that hold the lock or ask for it, and not those that count them.
const SEATS: &str = "select count(*) from pg_stat_activity
                      where datname = current_database()
                        and query ~ 'pg_try_advisory_lock|(insert into|update) leadership'
                        and query !~ 'pg_stat_activity'";

fn pid(program: &Program) -> String {
    format!(":{}", program.id().expect("it runs"))
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_leader_that_is_told_to_stop_hands_over_at_once(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let (mut first, second) = two_schedulers(&mut scene).await?;
    assert_eq!(first.stop().await?.code(), Some(0));
    let took = term_begins(&mut scene, 2).await?;
    assert!(took < WITHIN, "{took:?}");
    assert!(leader(&scene).await?.leader.ends_with(&pid(&second)));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn when_the_leader_is_killed_another_leads_within_its_lease(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let (mut first, second) = two_schedulers(&mut scene).await?;
    first.kill().await?;
    let took = term_begins(&mut scene, 2).await?;
    assert!(took < WITHIN, "{took:?}");
    assert!(leader(&scene).await?.leader.ends_with(&pid(&second)));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_leader_that_was_frozen_past_its_lease_does_nothing_until_it_has_the_lock_again(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let (first, mut second) = two_schedulers(&mut scene).await?;
    first.signal("STOP").await?;
    let took = term_begins(&mut scene, 2).await?;
    assert!(took < WITHIN, "the server ended its session: {took:?}");

    // Nobody leads while it wakes up: whatever is done now, the one that was frozen does.
    assert_eq!(second.stop().await?.code(), Some(0));
    let hold = sqlx::query("select pg_advisory_lock($1, $2)").bind(0x7379_6e63).bind(0x6c65_6164);
    let mut seat = scene.db.acquire().await?;
    hold.execute(&mut *seat).await?;
    sqlx::query("delete from schedule_ticks").execute(&scene.db).await?;
    let work = "select (select count(*) from schedule_ticks) + (select count(*) from bulk_runs)";
    let before = scene.count(work).await?;
    let keys = scene.redis_keys().await?;
    first.signal("CONT").await?;
    scene
        .until("it asks for the lock", async |scene| {
            Ok(scene.programs_say("the lock was lost")? && scene.count(SEATS).await? >= 1)
        })
        .await?;
    sleep(LEASE).await;
    assert_eq!(scene.count(work).await?, before);
    assert_eq!(scene.redis_keys().await?, keys);

    let release = sqlx::query("select pg_advisory_unlock_all()");
    release.execute(&mut *seat).await?;
    term_begins(&mut scene, 3).await?;
    assert!(leader(&scene).await?.leader.ends_with(&pid(&first)));
    Ok(())
}
