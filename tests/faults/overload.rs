//! More webhooks than Postgres can take. With `cargo xtask test --long`: 5,000 a second for a minute.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use sqlx::PgPool;
use tests::fault::Way;
use tests::program::Program;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::offers::{Rate, offer};

/// What the ingress may hold of the machine's memory at the most, whatever is offered: stated in
/// docs/reliability.md.
const MEMORY_BOUND_KIB: u64 = 256 * 1024;

const INGRESS: &str = "syncline-ingress";

/// So many are accepted all the same: ten connections, each with two round trips of a tenth of a second,
/// could take fifty.
const ACCEPTED_A_SECOND: u64 = 10;

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_accepted_is_there_and_what_is_too_much_is_shed(db: PgPool) -> anyhow::Result<()> {
    let long = std::env::var_os("SYNCLINE_LONG_TESTS").is_some();
    let rate = if long {
        Rate { a_second: 5_000, seconds: 60, connections: 1_500 }
    } else {
        Rate { a_second: 1_000, seconds: 3, connections: 500 }
    };
    let way = way_of_its_own().await?;
    let settings = "[ingress]\nmax_in_flight = 256".to_owned();
    let setup = Setup { postgres: Some(way.address()), settings, ..Setup::default() };
    let mut scene = Scene::new(db, setup).await?;
    let listen: SocketAddr = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let variables = [("SYNCLINE__INGRESS__LISTEN", listen.to_string())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let program = if long { Program::optimised(INGRESS)? } else { Program::path(INGRESS)? };
    let mut ingress = scene.start_file(&program, &variables)?;
    let ready = format!("http://{listen}/health/ready");
    scene
        .until("the ingress is ready", async |scene| {
            let asked = scene.http.send(scene.http.request(Method::GET, &ready)).await;
            Ok(matches!(asked, Ok((StatusCode::OK, _))))
        })
        .await?;

    way.slow(Duration::from_millis(50));
    let tally = offer(listen, rate).await?;
    way.open();

    let pid = ingress.id().context("it runs")?;
    let peak_kib = peak_memory_kib(pid)?;
    assert!(ingress.stop().await?.success());
    let written: Vec<String> =
        sqlx::query_scalar("select external_id from inbox").fetch_all(&scene.db).await?;
    let written: BTreeSet<String> = written.into_iter().collect();
    let accepted = tally.accepted.len();
    eprintln!(
        "{} offered in {:?}: {accepted} accepted, {} shed, {} refused, {} unanswered, the slowest answer \
         after {:?}; peak {peak_kib} KiB",
        tally.offered, tally.took, tally.shed, tally.refused, tally.unanswered, tally.slowest
    );
    let lost: Vec<_> = tally.accepted.difference(&written).collect();
    assert!(lost.is_empty(), "{} of {accepted} are lost", lost.len());
    assert_eq!((tally.refused, tally.unanswered), (0, 0));
    assert!(tally.shed > 0, "nothing was too much");
    // Who offers less because the ingress is slow offers less than was said.
    let due = u64::from(rate.a_second) * u64::from(rate.seconds);
    assert!(!long || tally.offered * 100 >= due * 98, "{} of {due} were offered", tally.offered);
    let floor = usize::try_from(tally.took.as_secs() * ACCEPTED_A_SECOND)?;
    assert!(accepted >= floor, "{accepted} accepted of {floor} at the least");
    assert!(peak_kib < MEMORY_BOUND_KIB, "{peak_kib} KiB");
    Ok(())
}

/// A way to Postgres that is slow because it is told to, and not because whoever offers webhooks uses up
/// the time of its thread.
async fn way_of_its_own() -> anyhow::Result<Way> {
    let (made, way) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the first of this thread");
        runtime.block_on(async {
            drop(made.send(Way::to("DATABASE_URL").await));
            // Until the process ends, which is when the story does.
            std::future::pending::<()>().await;
        });
    });
    way.await?
}

/// The most memory that a process has held so far.
fn peak_memory_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("Linux tells it")?;
    Ok(number.parse()?)
}
