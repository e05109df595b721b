//! Connections whose secrets are kept in Postgres, from `add` to `remove`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use common::store::migrate;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use uuid::Uuid;

use crate::fleet::{database_url, redis_url};
use crate::run::{Ended, syncline};

const TOKEN: &str = "a-very-good-token";
const WEBHOOK: &str = "a-webhook-secret-of-ours";

/// A fleet with a key file and one connection's files.
struct Scene {
    db: PgPool,
    folder: TempDir,
    lane: String,
    namespace: String,
}

impl Scene {
    async fn new(db: PgPool) -> Self {
        migrate(&db).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let lane = format!("klaviyo/t-{}", Uuid::now_v7());
        let scene = Self { db, folder, lane, namespace: Uuid::now_v7().to_string() };
        scene.put("key", &new_key());
        scene.put("webhook", WEBHOOK);
        scene
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn call(&self, arguments: &[&str], stdin: &str) -> Ended {
        let (redis, postgres) = (redis_url(), database_url(&self.db));
        let key = self.folder.path().join("key").display().to_string();
        let variables = [
            ("REDIS_URL", redis.as_str()),
            ("DATABASE_URL", &postgres),
            ("SYNCLINE__REDIS__NAMESPACE", &self.namespace),
            ("SYNCLINE__CREDENTIALS__KEY_FILE", &key),
        ];
        let ended = syncline(arguments, &variables, stdin.as_bytes());
        for secret in [TOKEN, WEBHOOK, &fs::read_to_string(&key).unwrap_or_default()] {
            let shown = format!("{}{}", ended.out, ended.err);
            assert!(secret.is_empty() || !shown.contains(secret), "a secret is shown: {shown}");
        }
        ended
    }

    /// Adds the connection; its API is at `base_url`.
    fn add(&self, base_url: &str, token: &str) -> Ended {
        let webhook = self.folder.path().join("webhook").display().to_string();
        let settings = self.put(
            "settings.toml",
            &format!(
                "base_url = \"{base_url}\"\nquotas.steady = {{ limit = 600, window = \"1m\" }}\n\
                 schedules = [{{ record_type = \"profile\", mode = \"full\", cron = \"0 3 * * *\" }}]\n"
            ),
        );
        let arguments = [
            "connections",
            "add",
            &self.lane,
            "--account",
            "XyZ",
            "--token-file",
            "-",
            "--webhook-secret-file",
            &webhook,
            "--settings",
            &settings,
        ];
        self.call(&arguments, &format!("{token}\n"))
    }

    fn check(&self) -> (i32, Value) {
        let ended = self.call(&["connections", "check", &self.lane, "--json"], "");
        (ended.code, serde_json::from_str(&ended.out).expect("an answer in JSON"))
    }

    async fn sealed(&self) -> Vec<Vec<u8>> {
        let row: (Vec<u8>, Vec<u8>) =
            sqlx::query_as("select token, webhook_secret from connection_credentials")
                .fetch_one(&self.db)
                .await
                .unwrap();
        vec![row.0, row.1]
    }
}

fn new_key() -> String {
    let ended = syncline(&["new-key"], &[], b"");
    assert_eq!((ended.code, ended.out.trim().len()), (0, 64), "{ended:?}");
    ended.out.trim().to_owned()
}

/// A platform that takes one token, says 403 to another, and 401 to the rest.
fn platform() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let status = if head.contains(&format!("Klaviyo-API-Key {TOKEN}")) {
                "200 OK"
            } else if head.contains("lacks-a-scope") {
                "403 Forbidden"
            } else {
                "401 Unauthorized"
            };
            let body = r#"{"data": [], "links": {"next": null}}"#;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            drop(reader.get_mut().write_all(answer.as_bytes()));
        }
    });
    url
}

#[sqlx::test(migrations = false)]
async fn an_added_connection_is_sealed_listed_checked_and_removed(db: PgPool) {
    let scene = Scene::new(db).await;
    let url = platform();
    let added = scene.add(&url, TOKEN);
    assert_eq!(added.code, 0, "{added:?}");
    let address = added.out.lines().last().unwrap().to_owned();
    assert!(address.starts_with("/webhooks/klaviyo/") && address.len() == 18 + 48, "{address}");
    for sealed in scene.sealed().await {
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(!text.contains(TOKEN) && !text.contains(WEBHOOK));
    }

    let listed = scene.call(&["connections", "list", "--json"], "").json();
    assert_eq!(listed[0]["account"], "XyZ");
    assert_eq!(listed[0]["credentials"]["source"], "added");
    assert!(scene.call(&["connections", "list"], "").out.contains("added"));

    let (code, found) = scene.check();
    assert_eq!((code, found[0]["result"].as_str()), (0, Some("works")), "{found}");
    // A held lane is probed too: it is held until a person looks.
    assert_eq!(scene.call(&["connections", "park", &scene.lane], "").code, 0);
    assert_eq!(scene.check().0, 0);

    // Other secrets in their place: the address stays and is not shown.
    for (token, result) in [("wrong", "authentication"), ("lacks-a-scope", "scope")] {
        let again = scene.add(&url, token);
        assert!(again.code == 0 && !again.out.contains("/webhooks/"), "{again:?}");
        let (code, found) = scene.check();
        assert_eq!((code, found[0]["result"].as_str()), (1, Some(result)), "{found}");
    }
    scene.add("http://127.0.0.1:9", TOKEN);
    let (code, found) = scene.check();
    assert_eq!((code, found[0]["result"].as_str()), (1, Some("unreachable")), "{found}");

    assert_eq!(scene.call(&["connections", "remove", &scene.lane], "").code, 0);
    assert_eq!(scene.call(&["connections", "remove", &scene.lane], "").code, 1);
    assert_eq!(scene.call(&["connections", "check", &scene.lane], "").code, 1);
}

#[sqlx::test(migrations = false)]
async fn a_key_is_rotated_in_any_number_of_runs_and_the_old_one_is_then_useless(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.add(&platform(), TOKEN).code, 0);
    let before = scene.sealed().await;
    let old = fs::read_to_string(scene.folder.path().join("key")).unwrap();
    let new = new_key();
    scene.put("key", &format!("# the new one\n{new}\n{old}\n"));

    let dry = scene.call(&["rotate-key", "--dry-run"], "");
    assert!(dry.code == 0 && dry.out.starts_with("2 would be sealed anew"), "{dry:?}");
    assert_eq!(scene.sealed().await, before);
    let done = scene.call(&["rotate-key"], "");
    assert!(done.code == 0 && done.out.starts_with("2 sealed anew"), "{done:?}");
    let again = scene.call(&["rotate-key"], "");
    assert!(again.out.starts_with("0 sealed anew") && again.out.contains("2 were already"));

    scene.put("key", &new);
    assert_eq!(scene.check().0, 0);
    let after = scene.sealed().await;
    scene.put("key", &old);
    let refused = scene.call(&["rotate-key"], "");
    assert!(
        refused.code == 1 && refused.err.contains("not among credentials.key_file"),
        "{refused:?}"
    );
    assert!(
        scene.call(&["connections", "check"], "").err.contains("add that key as a further line")
    );
    assert_eq!(scene.sealed().await, after);
}

#[sqlx::test(migrations = false)]
async fn what_cannot_be_added_is_refused_with_the_remedy(db: PgPool) {
    let scene = Scene::new(db).await;
    let lane = scene.lane.as_str();
    let folder = scene.folder.path().display().to_string();
    let secret = scene.put("settings.toml", "token_env = \"X\"");
    let cases: [(&[&str], &str); 5] = [
        (&["--token-file", "/nowhere"], "check path and owner"),
        (&["--token-file", "-"], "it is empty"),
        (&["--token-file", "-", "--webhook-secret-file", "-"], "from standard input, not several"),
        (&["--token-file", "-", "--settings", &secret], "take the keys that name theirs out"),
        (&["--token-file", "-", "--settings", "/nowhere"], "--settings /nowhere"),
    ];
    for (more, expected) in cases {
        let ended = scene.call(&[&["connections", "add", lane], more].concat(), "");
        assert!(ended.code == 1 && ended.err.contains(expected), "{more:?}: {ended:?}");
    }
    fs::remove_file(format!("{folder}/key")).unwrap();
    let ended = scene.call(&["connections", "add", lane, "--token-file", "-"], TOKEN);
    assert!(ended.code == 1 && ended.err.contains("credentials.key_file"), "{ended:?}");
}
