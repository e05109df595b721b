//! Answers that a platform counts towards a ban: counted by all together, and nothing is sent well
//! before there are too many.

use std::time::Duration;

use common::fleet::{Fleet, Payer};
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::platform::ErrorBudget;
use simulator::Platform;
use sqlx::PgPool;
use tests::scene::{Scene, Setup};

use crate::accounts::{Accounts, lane};
use crate::verbs::{NO_SPOT_CHECKS, requests_of};

/// Discord's 10,000 in ten minutes become 20 for the address and 10 for a connection.
const LITTLE: &str = "[worker]\nerror_budget_share = 0.002\n";

/// A fleet with three connections at Discord and one at Patreon.
async fn fleet_of_four(db: PgPool) -> anyhow::Result<(Scene, Accounts)> {
    let both = [Platform::Discord, Platform::Patreon];
    let accounts = Accounts::start(simulator::Config::default().only(&both)).await?;
    let first = accounts.table(Platform::Discord, "");
    let without_webhooks: Vec<&str> =
        first.lines().filter(|line| !line.starts_with("endpoint_id_file")).collect();
    let another = |name| without_webhooks.join("\n").replace("discord/other", name);
    let settings = format!(
        "{NO_SPOT_CHECKS}{LITTLE}{first}{}{}{}",
        another("discord/second"),
        another("discord/third"),
        accounts.table(Platform::Patreon, "")
    );
    let scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    Ok((scene, accounts))
}

async fn fail(fleet: &Fleet, lane: &str, times: usize) -> anyhow::Result<()> {
    let lane: Lane = lane.parse()?;
    let connection = fleet.connections.get(&lane).expect("it is configured");
    for _ in 0..times {
        fleet.count_failure(connection).await;
    }
    Ok(())
}

async fn frozen(fleet: &Fleet, lane: &str) -> anyhow::Result<Duration> {
    Ok(fleet.queue.depths(&lane.parse()?).await?.frozen)
}

const ALERTS: &str = "select count(*) from alerts where kind = 'error-budget'
                       and cleared_at is null";

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn failures_of_two_workers_are_counted_together_and_stop_the_connection(
    db: PgPool,
) -> anyhow::Result<()> {
    let (scene, _accounts) = fleet_of_four(db).await?;
    let workers = [scene.fleet().await?, scene.fleet().await?];
    fail(&workers[0], "discord/other", 5).await?;
    fail(&workers[1], "discord/other", 4).await?;
    assert_eq!(frozen(&workers[0], "discord/other").await?, Duration::ZERO);

    fail(&workers[0], "discord/other", 1).await?;
    let long = frozen(&workers[1], "discord/other").await?;
    // Ten minutes, or a sixtieth more; less what this took.
    let expected = Duration::from_secs(570)..=Duration::from_secs(610);
    assert!(expected.contains(&long), "{long:?}");
    assert_eq!(frozen(&workers[0], "discord/second").await?, Duration::ZERO);
    assert_eq!(scene.count(ALERTS).await?, 1);
    let said: String =
        sqlx::query_scalar("select message from alerts").fetch_one(&scene.db).await?;
    assert!(said.starts_with("discord/other had 10 refusals"), "{said}");
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn connections_behind_one_address_share_what_it_may_spend(db: PgPool) -> anyhow::Result<()> {
    let (scene, _accounts) = fleet_of_four(db).await?;
    let fleet = scene.fleet().await?;
    fail(&fleet, "discord/other", 7).await?;
    fail(&fleet, "discord/second", 7).await?;
    fail(&fleet, "discord/third", 5).await?;
    assert_eq!(frozen(&fleet, "discord/second").await?, Duration::ZERO);

    // None has reached its own mark; together they have.
    fail(&fleet, "discord/third", 1).await?;
    for lane in ["discord/other", "discord/second", "discord/third"] {
        assert!(frozen(&fleet, lane).await? > Duration::from_mins(9), "{lane}");
    }
    assert_eq!(frozen(&fleet, &lane(Platform::Patreon)).await?, Duration::ZERO);
    let of_the_fleet = "select count(*) from alerts where connection_id is null
                         and subject = 'discord/shared'";
    assert_eq!(scene.count(of_the_fleet).await?, 1);

    // A platform that bans nobody for it has no such budget.
    fail(&fleet, "klaviyo/main", 100).await?;
    assert_eq!(frozen(&fleet, "klaviyo/main").await?, Duration::ZERO);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_budget_recovers_when_its_window_has_passed_and_then_its_alert_is_over(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, _accounts) = fleet_of_four(db).await?;
    let fleet = scene.fleet().await?;
    let payer = Payer::Connection("discord/other".parse()?);
    let short = ErrorBudget { limit: 2_000, window: Duration::from_millis(400) };
    for count in 1..=2 {
        assert_eq!(fleet.budgets.count(&payer, short).await?.count, count);
    }
    let spent = fleet.budgets.standing(&payer, short).await?;
    assert_eq!((spent.count, spent.mark), (2, 2));
    assert!(spent.until_below > Duration::ZERO && spent.until_below < Duration::from_millis(410));
    scene
        .until("the window has passed", async |_| {
            let standing = fleet.budgets.standing(&payer, short).await?;
            Ok(standing.count == 0 && standing.until_below.is_zero())
        })
        .await?;

    fail(&fleet, "discord/second", 10).await?;
    assert_eq!(fleet.clear_recovered_budgets().await?, 0, "it lasts");
    assert_eq!(scene.count(ALERTS).await?, 1);
    // As ten minutes later, and as after a Redis that was lost.
    scene.flush_redis().await?;
    assert_eq!(fleet.clear_recovered_budgets().await?, 1);
    assert_eq!(scene.count(ALERTS).await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_that_gets_nothing_but_refusals_stops_before_the_platform_blocks_it(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, accounts) = fleet_of_four(db).await?;
    let patreon = lane(Platform::Patreon);
    let fleet = scene.fleet().await?;
    // Two of 2,000 are left to this connection.
    let jobs: Vec<Job> = (0..40)
        .map(|n| Job {
            lane: patreon.parse().expect("it is a lane"),
            task: Task::Check {
                record_type: "member".into(),
                external_id: format!("00000000-0000-4000-8000-{n:012}").as_str().into(),
            },
            priority: Priority::Manual,
            trace: String::new(),
        })
        .collect();
    fleet.queue.enqueue(&jobs).await?;
    scene.start_worker();
    scene
        .until("it is stopped", async |scene| {
            Ok(scene.count(ALERTS).await? >= 1 && !frozen(&fleet, &patreon).await?.is_zero())
        })
        .await?;
    scene.stop().await?;
    let asked = requests_of(&accounts.platforms, Platform::Patreon);
    // What was on its way when the mark was reached still arrived.
    assert!((2..=2 + 4).contains(&asked), "{asked}");
    Ok(())
}
