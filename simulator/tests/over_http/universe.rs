//! A universe in a file: written by the binary, replayed by it, and the same each time.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Config, Platform, Windows};
use tokio::time::sleep;

use crate::client::{Client, with};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Writes the universe of these arguments to a file and reads it.
fn written(arguments: &[&str], name: &str) -> Config {
    let path = file(name);
    let status = Command::new(env!("CARGO_BIN_EXE_syncline-simulator"))
        .args(arguments)
        .args(["--write-only", "--write-universe"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_binary_writes_a_universe_and_reads_it_back() {
    let with = r#"{ "patreon": { "members": 7, "account": { "windows": "fixed" } } }"#;
    let first = written(&["--lively", "--seed", "9", "--with", with], "first.json");
    assert_eq!((first.seed, first.patreon.members), (9, 7));
    assert_eq!(first.patreon.account.windows, Windows::Fixed);
    assert_eq!(first.discord, Config::lively(9).discord);
    let path = file("first.json");
    let again = written(&["--universe", path.to_str().unwrap()], "again.json");
    assert_eq!(again, first);
}

#[tokio::test]
async fn the_same_file_makes_the_same_history() {
    let universe = Config::lively(5).with(&json!({ "klaviyo": { "profiles": 40 } })).unwrap();
    let text = serde_json::to_string(&universe).unwrap();
    let mut histories: Vec<Vec<Value>> = Vec::new();
    for _ in 0..2 {
        let (simulator, _) = with(|config| {
            *config = serde_json::from_str(&text).unwrap();
            for account in [
                &mut config.klaviyo.account,
                &mut config.eventbrite.account,
                &mut config.patreon.account,
                &mut config.discord.account,
            ] {
                account.changes.per_record_hour = 0.0;
                account.changes.creations_hour = 0.0;
            }
        })
        .await;
        for platform in Platform::ALL {
            for _ in 0..20 {
                let edit = simulator::ChangeRequest {
                    platform,
                    record_type: None,
                    external_id: None,
                    kind: simulator::ChangeKind::Edit,
                    notify: false,
                };
                simulator.change(&edit).unwrap();
            }
        }
        let truth = simulator.truth().records.into_iter();
        // When something changed is the time of the run; what and how is the file's.
        histories.push(
            truth
                .map(|record| {
                    json!([record.platform, record.external_id, timeless(record.payload)])
                })
                .collect(),
        );
    }
    assert!(histories[0] == histories[1]);
    assert!(histories[0].len() > 300);
}

/// Without the instants at which changes were made.
fn timeless(mut payload: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        for name in ["changed", "published"] {
            fields.remove(name);
        }
        for barcode in fields.get_mut("barcodes").into_iter().filter_map(Value::as_array_mut) {
            for one in barcode.iter_mut().filter_map(Value::as_object_mut) {
                one.remove("changed");
            }
        }
    }
    payload
}

#[tokio::test]
async fn the_control_api_hands_out_the_universe_and_turns_switches() {
    let (simulator, client) = with(|config| config.seed = 77).await;
    let control = simulator.control_url.clone();
    let client: Client = client;
    let universe = client.control(&control, "/universe", None).await.json;
    assert_eq!(serde_json::from_value::<Config>(universe).unwrap().seed, 77);

    for switches in [
        json!({ "endless_cursor": true }),
        json!({ "guild_access": { "1": "missing" } }),
        json!({ "guild_access": {} }),
    ] {
        let body = json!({ "platform": "patreon", "switches": switches });
        assert_eq!(client.control(&control, "/switches", Some(&body)).await.status, 204);
    }
    let shown = client.control(&control, "/switches?platform=patreon", None).await.json;
    assert_eq!((&shown["endless_cursor"], &shown["guild_access"]), (&json!(true), &json!({})));
    let wrong = json!({ "platform": "patreon", "switches": { "endless": true } });
    assert_eq!(client.control(&control, "/switches", Some(&wrong)).await.status, 400);
}

#[tokio::test]
async fn every_platform_lives_and_settles() {
    let (simulator, _) = with(|config| {
        *config = Config::lively(4);
        for account in [&mut config.patreon.account, &mut config.discord.account] {
            account.changes.per_record_hour = 2_000.0;
            account.changes.creations_hour = 5_000.0;
        }
    })
    .await;
    let alive =
        |stats: &simulator::AccountStats| stats.changes.edits + stats.changes.creations > 50;
    while !(alive(&simulator.stats().patreon) && alive(&simulator.stats().discord)) {
        sleep(Duration::from_millis(5)).await;
    }
    let frozen = simulator.freeze(Duration::from_secs(20)).await;
    assert_eq!((frozen.pending_notices, frozen.unsettled_ms), (0, 0));
    assert_eq!(simulator.truth(), simulator.truth());
}
