//! From a platform's webhook to a true mirror.

use anyhow::Context;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use simulator::{Platform, RecordId, RecordType};
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE, EVENTBRITE_ENDPOINT, KLAVIYO, KLAVIYO_ENDPOINT};
use tests::fault::Way;
use tests::scene::{Scene, Setup};

use crate::receiver::{Post, Receiver};
use crate::verbs::{
    NO_SPOT_CHECKS, arrived, edit, edit_again, held, history, hold, mirrored, requests,
};

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_signed_webhook_reaches_the_mirror(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    for record_type in
        [RecordType::Profile, RecordType::Attendee, RecordType::Order, RecordType::Event]
    {
        let changed = edit(&scene, record_type)?;
        mirrored(&mut scene, &[changed]).await?;
    }
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(scene.platforms.stats().klaviyo.refusals, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_forged_webhook_does_not(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let (changed, genuine) = intercepted(&scene, RecordType::Profile).await?;
    scene.start_ingress().await?;
    scene.start_worker();

    let mut forged = Vec::new();
    for place in [0, genuine.body.len() / 2, genuine.body.len() - 1] {
        let mut body = genuine.body.to_vec();
        body[place] ^= 1;
        forged.push(Post { body: body.into(), ..genuine.clone() });
    }
    for header in ["klaviyo-signature", "klaviyo-timestamp", "klaviyo-webhook-id"] {
        let mut without = genuine.clone();
        without.headers.remove(header);
        forged.push(without);
    }
    let mut another_time = genuine.clone();
    another_time.headers.insert("klaviyo-timestamp", "Thu, 01 Jan 2026 00:00:00 GMT".parse()?);
    forged.push(another_time);
    for post in &forged {
        assert_eq!(deliver(&scene, &genuine_path(), post).await?, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(scene.count("select count(*) from inbox").await?, 0);
    assert_eq!(requests(&scene, Platform::Klaviyo), 0);

    assert_eq!(deliver(&scene, &genuine_path(), &genuine).await?, StatusCode::ACCEPTED);
    mirrored(&mut scene, &[changed]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_no_webhook_of_ours_is_refused_by_what_is_wrong_with_it(
    db: PgPool,
) -> anyhow::Result<()> {
    let settings = "[ingress]\nbody_limit_bytes = 65536".to_owned();
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    let (_, genuine) = intercepted(&scene, RecordType::Profile).await?;
    scene.start_ingress().await?;

    // Nothing tells which part of a wrong path is wrong, or whether it is the path.
    for path in [
        format!("klaviyo/{}", KLAVIYO_ENDPOINT.replace('0', "1")),
        format!("eventbrite/{KLAVIYO_ENDPOINT}"),
        format!("klaviyo/{EVENTBRITE_ENDPOINT}"),
        format!("myspace/{KLAVIYO_ENDPOINT}"),
    ] {
        assert_eq!(deliver(&scene, &path, &genuine).await?, StatusCode::UNAUTHORIZED, "{path}");
    }
    let too_large = Post { body: vec![b' '; 65_537].into(), ..genuine.clone() };
    let answer = deliver(&scene, &genuine_path(), &too_large).await?;
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);

    // Eventbrite signs nothing: what cannot be read, or leads elsewhere, is its own mistake.
    let elsewhere =
        r#"{"config":{"action":"order.updated"},"api_url":"https://evil.example/v3/orders/1/"}"#;
    for body in ["", "{}", "[1,2", elsewhere] {
        let strange = Post { body: body.into(), ..genuine.clone() };
        let path = format!("eventbrite/{EVENTBRITE_ENDPOINT}");
        let answer = deliver(&scene, &path, &strange).await?;
        // Never 410, which would end the subscription.
        assert_eq!(answer, StatusCode::UNPROCESSABLE_ENTITY, "{body:?}");
    }
    assert_eq!(scene.count("select count(*) from inbox").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_webhook_that_comes_again_has_one_effect(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let (changed, genuine) = intercepted(&scene, RecordType::Profile).await?;
    scene.start_ingress().await?;
    for _ in 0..3 {
        assert_eq!(deliver(&scene, &genuine_path(), &genuine).await?, StatusCode::ACCEPTED);
    }
    scene.start_worker();
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(history(&scene, &changed).await?, ["created"]);

    // Replayed much later, it is one more look and no more.
    assert_eq!(deliver(&scene, &genuine_path(), &genuine).await?, StatusCode::ACCEPTED);
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(history(&scene, &changed).await?, ["created", "unchanged"]);
    mirrored(&mut scene, &[changed]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_thousand_notices_of_one_record_cost_one_fetch(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup::default();
    // A hundred deliveries of Klaviyo's; of Eventbrite's there is one for each notice.
    setup.simulator.klaviyo.account.webhooks.batch = 10;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    let profile = edit(&scene, RecordType::Profile)?;
    let attendee = edit(&scene, RecordType::Attendee)?;
    scene.platforms.announce(Platform::Klaviyo, &profile, 999);
    scene.platforms.announce(Platform::Eventbrite, &attendee, 999);
    arrived(&mut scene, Platform::Klaviyo, 1000).await?;
    arrived(&mut scene, Platform::Eventbrite, 1000).await?;

    scene.start_worker();
    scene.comes_to_rest(KLAVIYO).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    assert_eq!(scene.platforms.fetches(Platform::Klaviyo, &profile).asked_for(), 1);
    assert_eq!(scene.platforms.fetches(Platform::Eventbrite, &attendee).asked_for(), 1);
    let closed = "select sum(notices_closed) from sync_operations where external_id like '%/%'";
    assert_eq!(scene.count(closed).await?, 1000);
    mirrored(&mut scene, &[profile, attendee]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_notice_during_the_fetch_causes_one_more(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let changed = edit(&scene, RecordType::Profile)?;
    held(&scene, 1).await?;

    // The answer under way does not know of these.
    for notices in 2..=6 {
        edit_again(&scene, &changed)?;
        arrived(&mut scene, Platform::Klaviyo, notices).await?;
    }
    scene.platforms.open_gate();
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(scene.platforms.fetches(Platform::Klaviyo, &changed).asked_for(), 2);
    assert_eq!(history(&scene, &changed).await?, ["created", "changed"]);
    mirrored(&mut scene, &[changed]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn while_postgres_is_away_platforms_are_asked_to_send_again(
    db: PgPool,
) -> anyhow::Result<()> {
    let way = Way::to("DATABASE_URL").await?;
    let setup = Setup { postgres: Some(way.address()), ..Setup::default() };
    let mut scene = Scene::new(db, setup).await?;
    let (_, genuine) = intercepted(&scene, RecordType::Profile).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    let before = edit(&scene, RecordType::Profile)?;
    mirrored(&mut scene, &[before]).await?;

    way.shut();
    let refused = scene.http.response(delivery(&scene, &genuine_path(), &genuine)).await?;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = refused.headers().get(RETRY_AFTER).context("when")?.to_str()?.parse()?;
    assert!((1..=60).contains(&seconds), "{seconds}");

    let during = edit(&scene, RecordType::Profile)?;
    scene
        .until("the platform is told to send again", async |scene| {
            Ok(scene.platforms.stats().klaviyo.webhooks.answered_5xx > 0)
        })
        .await?;
    way.open();
    mirrored(&mut scene, &[during]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn while_redis_is_away_webhooks_are_accepted_and_wait(db: PgPool) -> anyhow::Result<()> {
    let way = Way::to("REDIS_URL").await?;
    let settings = NO_SPOT_CHECKS.to_owned();
    let setup = Setup { redis: Some(way.address()), settings, ..Setup::default() };
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    scene.start_scheduler();
    let before = edit(&scene, RecordType::Profile)?;
    mirrored(&mut scene, &[before]).await?;
    scene.comes_to_rest(KLAVIYO).await?;

    way.shut();
    let during = edit(&scene, RecordType::Profile)?;
    arrived(&mut scene, Platform::Klaviyo, 2).await?;
    assert_eq!(scene.count("select count(*) from inbox").await?, 1);
    let webhooks = scene.platforms.stats().klaviyo.webhooks;
    assert_eq!((webhooks.attempts, webhooks.answered_2xx), (2, 2), "taken at once");

    way.open();
    mirrored(&mut scene, &[during]).await
}

/// A change, and the webhook that told of it, which nobody of ours got.
async fn intercepted(scene: &Scene, record_type: RecordType) -> anyhow::Result<(RecordId, Post)> {
    let receiver = Receiver::start().await?;
    scene.platforms.set_webhook_target(Platform::Klaviyo, Some(receiver.url.parse()?));
    let changed = edit(scene, record_type)?;
    Ok((changed, receiver.first().await?))
}

fn genuine_path() -> String {
    format!("klaviyo/{KLAVIYO_ENDPOINT}")
}

/// Sends a webhook to the ingress; how it was answered.
async fn deliver(scene: &Scene, path: &str, post: &Post) -> anyhow::Result<StatusCode> {
    Ok(scene.http.send(delivery(scene, path, post)).await?.0)
}

fn delivery(scene: &Scene, path: &str, post: &Post) -> reqwest::RequestBuilder {
    let mut headers = post.headers.clone();
    for own in ["host", "content-length"] {
        headers.remove(own);
    }
    let request = scene.http.request(Method::POST, &scene.webhook_url(path));
    request.headers(headers).body(post.body.clone())
}
