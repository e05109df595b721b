//! A Discord bot is removed from a guild: nothing is concluded from it. Told with a server of a few
//! lines in place of Discord.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::job::{Job, Priority, Task};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::verbs::{NO_SPOT_CHECKS, scan};

const LANE: &str = "discord/main";
const ENDPOINT: &str = "discord-0123456789abcdef0123456789abcdef";
/// The public key of RFC 8032, test 2.
const KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
/// Made with the secret key of that test, over the time and the body that are sent below.
const SIGNED_PING: &str = "1fe7888578b378a7b44db93f2cc59416a15fd4b22dd5720e1b1e80e3fcd324de0fffd86f41f56336eb94368c021820bc60487845d180ff4b2ff81b5d96cac302";
const MEMBERS: u64 = 60;

/// Two guilds with the same members, until the bot is removed from the second.
#[derive(Debug, Default)]
struct Discord {
    removed: AtomicBool,
    refusals: AtomicU32,
}

impl Discord {
    fn refuses(&self, guild: u64) -> bool {
        guild == 2 && self.removed.load(Ordering::SeqCst)
    }

    fn refusal(&self) -> Response {
        self.refusals.fetch_add(1, Ordering::SeqCst);
        let body = json!({ "message": "Missing Access", "code": 50001 });
        (StatusCode::FORBIDDEN, Json(body)).into_response()
    }
}

fn member(user: u64) -> Value {
    json!({ "user": { "id": user.to_string() }, "roles": [] })
}

async fn guilds(State(discord): State<Arc<Discord>>, uri: Uri) -> Json<Value> {
    let after: u64 = uri
        .query()
        .and_then(|query| query.split("after=").nth(1)?.split('&').next()?.parse().ok())
        .unwrap_or_default();
    let guilds = (1..=2).filter(|guild| *guild > after && !discord.refuses(*guild));
    Json(guilds.map(|guild| json!({ "id": guild.to_string() })).collect())
}

async fn members(State(discord): State<Arc<Discord>>, Path(guild): Path<u64>) -> Response {
    if discord.refuses(guild) {
        return discord.refusal();
    }
    Json((1..=MEMBERS).map(member).collect::<Value>()).into_response()
}

async fn one(
    State(discord): State<Arc<Discord>>,
    Path((guild, user)): Path<(u64, u64)>,
) -> Response {
    if discord.refuses(guild) {
        return discord.refusal();
    }
    Json(member(user)).into_response()
}

/// The server, and a fleet that has a connection to it.
async fn told(db: PgPool) -> anyhow::Result<(Scene, Arc<Discord>, TempDir, JoinSet<()>)> {
    let discord = Arc::new(Discord::default());
    let router = Router::new()
        .route("/users/@me/guilds", get(guilds))
        .route("/guilds/{guild}/members", get(members))
        .route("/guilds/{guild}/members/{user}", get(one))
        .with_state(Arc::clone(&discord));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });

    let secrets = tempfile::tempdir()?;
    for (name, secret) in [("token", "bot-token"), ("key", KEY), ("endpoint", ENDPOINT)] {
        fs::write(secrets.path().join(name), secret)?;
    }
    let place = secrets.path().display();
    let settings = format!(
        r#"{NO_SPOT_CHECKS}
[connections."{LANE}"]
account = "7"
base_url = "{url}"
token_file = "{place}/token"
webhook_secret_file = "{place}/key"
endpoint_id_file = "{place}/endpoint"
"#
    );
    let scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    Ok((scene, discord, secrets, serving))
}

async fn scanned(scene: &mut Scene, runs: i64) -> anyhow::Result<()> {
    scan(scene, LANE, "member").await?;
    scene
        .until("the scan is done", async |scene| {
            Ok(scene.count("select count(*) from bulk_runs where state = 'done'").await? == runs)
        })
        .await?;
    scene.comes_to_rest(LANE).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_guild_that_the_bot_was_removed_from_keeps_its_members(db: PgPool) -> anyhow::Result<()> {
    let (mut scene, discord, _secrets, _serving) = told(db).await?;
    scene.start_scheduler();
    scene.start_worker();
    scanned(&mut scene, 1).await?;
    let mirrored = "select count(*) from external_integrations where flags = 0";
    assert_eq!(scene.count(mirrored).await?, 2 * 60);

    // Half of all members would be enough to halt the run as a mass deletion.
    discord.removed.store(true, Ordering::SeqCst);
    scanned(&mut scene, 2).await?;
    assert_eq!(scene.count(mirrored).await?, 2 * 60);
    assert_eq!(discord.refusals.load(Ordering::SeqCst), 0, "nobody asks for what is out of reach");
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn one_look_into_a_lost_guild_is_enough_for_all_that_is_in_it(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, discord, _secrets, _serving) = told(db).await?;
    scene.start_scheduler();
    scene.start_worker();
    scanned(&mut scene, 1).await?;

    discord.removed.store(true, Ordering::SeqCst);
    let fleet = scene.fleet().await?;
    let job = Job {
        lane: LANE.parse()?,
        task: Task::Check { record_type: "member".into(), external_id: "2/7".into() },
        priority: Priority::SpotCheck,
        trace: String::new(),
    };
    fleet.queue.enqueue(&[job]).await?;
    scene
        .until("it was refused", async |_| Ok(discord.refusals.load(Ordering::SeqCst) > 0))
        .await?;
    scene.comes_to_rest(LANE).await?;
    assert_eq!(discord.refusals.load(Ordering::SeqCst), 1, "it is not tried again");
    let left_alone = "select count(*) from external_integrations
         where next_check_at > clock_timestamp() + interval '23 hours' and external_id like '2/%'
           and flags = 0";
    assert_eq!(scene.count(left_alone).await?, 60);
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_ping_is_answered_204_with_a_content_type_and_a_wrong_signature_401(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, _discord, _secrets, _serving) = told(db).await?;
    scene.start_ingress().await?;
    let url = scene.webhook_url(&format!("discord/{ENDPOINT}"));
    let post = |signature: &str| {
        scene
            .http
            .request(Method::POST, &url)
            .header("X-Signature-Ed25519", signature.to_owned())
            .header("X-Signature-Timestamp", "1795209245")
            .body(r#"{"version":1,"application_id":"7","type":0}"#)
    };
    let forged = scene.http.response(post(&SIGNED_PING.replace('1', "2"))).await?;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    let signed = scene.http.response(post(SIGNED_PING)).await?;
    assert_eq!(signed.status(), StatusCode::NO_CONTENT);
    assert_eq!(signed.headers()["content-type"], "application/json");
    assert_eq!(signed.bytes().await?.len(), 0);
    Ok(())
}
