//! Everything that a fleet says, searched for every secret that it knows.

use std::fs;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use simulator::{Fault, Hits, Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE_ENDPOINT, KLAVIYO_ENDPOINT};
use tests::program::Program;
use tests::scene::{Scene, Setup, database_url};
use tokio::net::TcpListener;
use tokio::process::Command;
use url::Url;

use crate::receiver::Receiver;
use crate::verbs::{NO_SPOT_CHECKS, SCAN_PROFILES, edit, mirrored};

const CONSOLE_TOKEN: &str = "the-consoles-token-0123456789";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// All that ours say. Others are not asked at these levels: they would tell of every header.
const LOG: &str = "info,common=trace,worker=trace,ingress=trace,scheduler=trace,console=trace";

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn nothing_that_a_fleet_says_holds_a_secret(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup { settings: NO_SPOT_CHECKS.to_owned(), ..Setup::default() };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    let mut scene = Scene::new(db, setup).await?;
    let receiver = Receiver::start().await?;
    let mut listen = Vec::new();
    for _ in ["ingress", "console"] {
        // Free a moment ago; nobody else on this machine is given it so soon.
        listen.push(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string());
    }
    let [ingress, console] = &listen[..] else { panic!("there are two") };
    let more = [
        ("SYNCLINE__TELEMETRY__OTLP_ENDPOINT", receiver.url.as_str()),
        ("SYNCLINE__TELEMETRY__LOG_FILTER", LOG),
        ("SYNCLINE__CREDENTIALS__KEY_ENV", "A_KEY"),
        ("A_KEY", KEY),
        ("SYNCLINE__INGRESS__LISTEN", ingress),
        ("SYNCLINE__CONSOLE__LISTEN", console),
        ("SYNCLINE__CONSOLE__TOKEN", CONSOLE_TOKEN),
    ];
    let mut programs = Vec::new();
    for name in ["ingress", "worker", "scheduler", "console"] {
        programs.push(scene.start_program(&format!("syncline-{name}"), &more)?);
    }
    for address in &listen {
        let ready = format!("http://{address}/health/ready");
        scene
            .until("it is ready", async |scene| {
                let asked = scene.http.send(scene.http.request(Method::GET, &ready)).await;
                Ok(matches!(asked, Ok((StatusCode::OK, _))))
            })
            .await?;
    }
    let mut said = work(&mut scene, ingress, console).await?;
    said.extend(commands(&scene, &more).await?);
    for program in &mut programs {
        assert!(program.stop().await?.success());
    }
    said.push(("the logs".to_owned(), fs::read(scene.folder.path().join("log"))?));
    let posts = receiver.posts().into_iter();
    said.extend(posts.map(|post| (format!("the posts to {}", post.path), post.body.to_vec())));

    assert!(said.len() > 8, "there is something to search");
    for word in ["DEBUG", "webhook refused", "connection parked"] {
        assert!(log_of(&said).contains(word), "{word} is not among {}", log_of(&said));
    }
    for (name, secret) in secrets(&scene)? {
        for (place, text) in &said {
            let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{place} have {name}");
        }
    }
    Ok(())
}

/// What the processes wrote to their standard error.
fn log_of(said: &[(String, Vec<u8>)]) -> String {
    let log = said.iter().find(|(place, _)| place == "the logs");
    log.map(|(_, log)| String::from_utf8_lossy(log).into_owned()).unwrap_or_default()
}

/// What the fleet knows and must not say.
fn secrets(scene: &Scene) -> anyhow::Result<Vec<(&'static str, String)>> {
    let config = scene.platforms.config();
    let password = |url: &str| -> anyhow::Result<String> {
        Ok(Url::parse(url)?.password().context("it has a password")?.to_owned())
    };
    Ok(vec![
        ("Klaviyo's token", config.klaviyo.api_key.0.clone()),
        ("Klaviyo's webhook secret", config.klaviyo.webhook_secret.0.clone()),
        ("Klaviyo's endpoint", KLAVIYO_ENDPOINT.to_owned()),
        ("Eventbrite's token", config.eventbrite.token.0.clone()),
        ("Eventbrite's endpoint", EVENTBRITE_ENDPOINT.to_owned()),
        ("the password of Postgres", password(&database_url(&scene.db))?),
        ("the password of Redis", password(&std::env::var("REDIS_URL")?)?),
        ("the console's token", CONSOLE_TOKEN.to_owned()),
        ("the key", KEY.to_owned()),
    ])
}

/// A little of everything, good and bad; what was answered.
async fn work(
    scene: &mut Scene,
    ingress: &str,
    console: &str,
) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    for (platform, endpoint) in
        [(Platform::Klaviyo, KLAVIYO_ENDPOINT), (Platform::Eventbrite, EVENTBRITE_ENDPOINT)]
    {
        let target = format!("http://{ingress}/webhooks/{}/{endpoint}", platform.name());
        scene.platforms.set_webhook_target(platform, Some(target.parse()?));
    }
    for record_type in [RecordType::Profile, RecordType::Order] {
        let changed = edit(scene, record_type)?;
        mirrored(scene, &[changed]).await?;
    }
    let mut said = Vec::new();
    for (path, body) in [
        (format!("webhooks/klaviyo/{KLAVIYO_ENDPOINT}"), "forged"),
        (format!("webhooks/eventbrite/{EVENTBRITE_ENDPOINT}"), "not understood"),
        (format!("webhooks/klaviyo/{EVENTBRITE_ENDPOINT}"), "at the wrong platform"),
    ] {
        let request = scene.http.request(Method::POST, &format!("http://{ingress}/{path}"));
        let (_, answer) = scene.http.send(request.body(body)).await?;
        said.push((format!("the answer to what is {body}"), answer.into_bytes()));
    }
    for token in ["a-wrong-token-0123456789", CONSOLE_TOKEN] {
        for path in ["", "api/status"] {
            let request = scene.http.request(Method::GET, &format!("http://{console}/{path}"));
            let request = request.header("authorization", format!("Bearer {token}"));
            let (_, answer) = scene.http.send(request).await?;
            said.push((format!("the console's /{path}"), answer.into_bytes()));
        }
        let request = scene
            .http
            .request(Method::POST, &format!("http://{console}/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        let answer = scene.http.response(request).await?;
        said.push(("the console's cookie".to_owned(), format!("{:?}", answer.headers()).into()));
    }
    let revoked = Fault::Status { status: 401, retry_after: None };
    scene.platforms.fault(Platform::Klaviyo, revoked, Hits::Share(1.0));
    edit(scene, RecordType::Profile)?;
    scene
        .until("it is parked", async |scene| {
            let parked = "select count(*) from connections where parked_at is not null";
            Ok(scene.count(parked).await? == 1)
        })
        .await?;
    Ok(said)
}

/// What the operator's commands print.
async fn commands(scene: &Scene, more: &[(&str, &str)]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let file = scene.folder.file();
    let mut said = Vec::new();
    for command in [
        "check-config",
        "status",
        "status --json",
        "connections list",
        "connections check",
        "depths",
        "explain klaviyo/main profile:1",
        "dead-letters list",
        "migrate",
    ] {
        let output = Command::new(Program::path("syncline")?)
            .arg("--config")
            .arg(&file)
            .args(command.split(' '))
            .envs(scene.environment())
            .envs(more.iter().copied())
            .output()
            .await?;
        said.push((format!("syncline {command}"), [output.stdout, output.stderr].concat()));
    }
    Ok(said)
}
