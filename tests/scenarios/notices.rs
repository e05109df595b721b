//! Notices of a bridge: changes that the platform itself has no webhook for.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use sha2::Sha256;
use simulator::{ChangeKind, ChangeRequest, Platform, RecordType};
use sqlx::PgPool;
use tests::scene::{Scene, Setup};

use crate::accounts::{Accounts, BRIDGE_SECRET, endpoint, lane};
use crate::verbs::NO_SPOT_CHECKS;

/// A Discord application whose bot sees two guilds, and a fleet that has a connection to it.
async fn discord(db: PgPool) -> anyhow::Result<(Scene, Accounts)> {
    let accounts = Accounts::start(simulator::Config::default().only(&[Platform::Discord])).await?;
    let settings = format!("{NO_SPOT_CHECKS}{}", accounts.table(Platform::Discord, ""));
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    Ok((scene, accounts))
}

fn address(scene: &Scene, platform: &str, endpoint: &str) -> String {
    scene.webhook_url(&format!("{platform}/{endpoint}")).replace("/webhooks/", "/notices/")
}

/// The header of a notice that was signed so many seconds from now.
async fn signature(
    scene: &Scene,
    secret: &str,
    body: &str,
    seconds_from_now: i64,
) -> anyhow::Result<String> {
    let now = scene.count("select extract(epoch from clock_timestamp())::bigint").await?;
    let time = now + seconds_from_now;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("{time}.{body}").as_bytes());
    Ok(format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes())))
}

async fn post(scene: &Scene, url: &str, signature: &str, body: &str) -> anyhow::Result<StatusCode> {
    let request = scene
        .http
        .request(Method::POST, url)
        .header("Syncline-Signature", signature)
        .body(body.to_owned());
    Ok(scene.http.send(request).await?.0)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_bridge_to_discords_gateway_tells_is_in_the_mirror_within_seconds(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, accounts) = discord(db).await?;
    scene.start_worker();
    let url = address(&scene, "discord", &endpoint(Platform::Discord));
    accounts.platforms.set_bridge_target(Some(url.parse()?));

    for record_type in [RecordType::Member, RecordType::Role, RecordType::Guild] {
        let changed = accounts.platforms.change(&ChangeRequest {
            platform: Platform::Discord,
            record_type: Some(record_type),
            external_id: None,
            kind: ChangeKind::Edit,
            notify: true,
        })?;
        scene
            .until("the record is mirrored as it is", async |scene| {
                accounts.has_mirrored(scene, &changed).await
            })
            .await?;
    }
    let told = "select count(*) from sync_operations where trigger = 'webhook'";
    assert!(scene.count(told).await? >= 3);
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0, "we were told");
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_notice_is_taken_when_it_is_signed_now_and_by_our_bridge(
    db: PgPool,
) -> anyhow::Result<()> {
    let (scene, _accounts) = discord(db).await?;
    let url = address(&scene, "discord", &endpoint(Platform::Discord));
    let body = r#"{"record_type":"member","ids":["1/2","1/3","1/2"]}"#;
    let good = signature(&scene, BRIDGE_SECRET, body, 0).await?;
    let stranger = signature(&scene, "another secret of 16", body, 0).await?;
    let old = signature(&scene, BRIDGE_SECRET, body, -400).await?;
    let early = signature(&scene, BRIDGE_SECRET, body, 400).await?;
    for (header, body) in [
        (stranger.as_str(), body),
        (&old, body),
        (&early, body),
        (&good, &body.replace("1/3", "1/4")),
        ("", body),
    ] {
        let answer = post(&scene, &url, header, body).await?;
        assert_eq!(answer, StatusCode::UNAUTHORIZED, "{header}");
    }

    // Nothing tells which part of a wrong address is wrong: not even that the connection is there
    // and takes no notices.
    let klaviyo = tests::config_file::KLAVIYO_ENDPOINT;
    for (platform, endpoint) in [
        ("discord", "other-discord-0123456789abcdef0124"),
        ("klaviyo", endpoint(Platform::Discord).as_str()),
        ("klaviyo", klaviyo),
    ] {
        let url = address(&scene, platform, endpoint);
        let answer = post(&scene, &url, &good, body).await?;
        assert_eq!(answer, StatusCode::UNAUTHORIZED, "{platform} {endpoint}");
    }

    let strange = r#"{"record_type":"planet","ids":["1"]}"#;
    let signed = signature(&scene, BRIDGE_SECRET, strange, 0).await?;
    assert_eq!(post(&scene, &url, &signed, strange).await?, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(scene.count("select count(*) from inbox").await?, 0);

    assert_eq!(post(&scene, &url, &good, body).await?, StatusCode::ACCEPTED);
    assert_eq!(scene.count("select count(*) from inbox").await?, 2);
    let fleet = scene.fleet().await?;
    let depths = fleet.queue.depths(&lane(Platform::Discord).parse()?).await?;
    assert_eq!(depths.ready.iter().sum::<u64>(), 2);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_notice_that_is_too_long_is_refused_unread(db: PgPool) -> anyhow::Result<()> {
    let (scene, _accounts) = discord(db).await?;
    let url = address(&scene, "discord", &endpoint(Platform::Discord));
    let limit = scene.config().ingress.body_limit_bytes;
    let answer = post(&scene, &url, "t=1,v1=00", &" ".repeat(limit + 1)).await?;
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}
