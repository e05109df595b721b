//! Events of a platform that are polled: they make records dirty and are not mirrored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use common::store::bulk_runs::{self, NewRun};
use serde_json::json;
use sqlx::PgPool;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::verbs::NO_SPOT_CHECKS;

const LANE: &str = "klaviyo/polled";

/// Two pages of events of one profile, and the profile.
fn answer(request: &Request, pages: &AtomicUsize) -> String {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let event = json!({
        "type": "event", "id": "e",
        "attributes": { "datetime": "2026-11-20 21:14:05+00:00" },
        "relationships": { "profile": { "data": { "type": "profile", "id": "P" } } },
    });
    let second = query.contains("cursor");
    let next = "https://a.klaviyo.com/api/events?page%5Bcursor%5D=second";
    match path {
        "/api/events" => {
            pages.fetch_add(1, Ordering::Relaxed);
            json!({ "data": [event], "links": { "next": (!second).then_some(next) } })
        }
        _ => json!({ "data": [{ "type": "profile", "id": "P", "attributes": { "email": "p@example.org" } }] }),
    }
    .to_string()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn events_that_no_webhook_brought_lead_to_a_look_at_their_profiles(
    db: PgPool,
) -> anyhow::Result<()> {
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pages);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new().fallback(async move |request: Request| answer(&request, &counted));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });

    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "a token of a platform that asks for none")?;
    let mut setup = Setup { settings: NO_SPOT_CHECKS.to_owned(), ..Setup::default() };
    let usual = setup.klaviyo.clone();
    let file = token.path().display();
    setup.eventbrite = format!(
        "{}\n[connections.\"{LANE}\"]\nbase_url = \"{url}\"\ntoken_file = \"{file}\"\n{usual}\n",
        setup.eventbrite
    );
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    let connection = scene.fleet().await?.connections.get(&LANE.parse()?).map(|known| known.id);
    let new = NewRun {
        connection: connection.expect("it is in the configuration"),
        record_type: "event".into(),
        changed_since: Some("2026-11-20T21:00:00Z".parse()?),
    };
    bulk_runs::start(&scene.db, &new).await?;

    // The sweeper enqueues the run.
    scene
        .until("the profile is mirrored and all is answered", async |scene| {
            let mirrored =
                "select count(*) from external_integrations where record_type = 'profile'";
            let done = "select count(*) from bulk_runs where state = 'done'";
            let open = "select count(*) from inbox";
            Ok(scene.count(mirrored).await? == 1
                && scene.count(done).await? == 1
                && scene.count(open).await? == 0)
        })
        .await?;
    assert_eq!(pages.load(Ordering::Relaxed), 2);
    let events = "select count(*) from external_integrations where record_type = 'event'";
    assert_eq!(scene.count(events).await?, 0);
    let watermark = bulk_runs::watermark(&scene.db, new.connection, &new.record_type).await?;
    assert_eq!(watermark, Some("2026-11-20T21:14:05Z".parse()?));
    // The platform had told us, if late.
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);
    Ok(())
}
