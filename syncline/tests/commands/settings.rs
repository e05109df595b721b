//! `check-config`.

use std::fs;

use crate::run::{Ended, syncline};

const REDIS: (&str, &str) = ("REDIS_URL", "redis://:redis-password@127.0.0.1:1");
const POSTGRES: (&str, &str) = ("DATABASE_URL", "postgres://a:postgres-password@127.0.0.1:1/a");

fn check(connection: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncline.toml");
    fs::write(&file, format!("[connections.\"klaviyo/main\"]\n{connection}")).unwrap();
    let arguments = ["check-config", "--config", file.to_str().unwrap()];
    syncline(&arguments, &[REDIS, POSTGRES, ("TOKEN", "klaviyo-secret")], b"")
}

#[test]
fn it_shows_what_would_be_run_with_and_no_secret() {
    let quota = "quotas.steady = { limit = 77, window = \"1m\" }";
    let ended = check(&format!("token_env = \"TOKEN\"\n{quota}\n"));
    assert_eq!(ended.code, 0, "{ended:?}");
    for expected in [
        "worker.lease = \"1m\"",
        "redis.url = (set, hidden)",
        "connections.\"klaviyo/main\".token_env = \"TOKEN\"",
        "quota steady    77 in 1m",
        "it takes no webhooks",
    ] {
        assert!(ended.out.contains(expected), "{expected} is missing in {}", ended.out);
    }
    for secret in ["redis-password", "postgres-password", "klaviyo-secret"] {
        assert!(!format!("{ended:?}").contains(secret), "{ended:?}");
    }
}

#[test]
fn connections_that_may_exceed_their_client_together_are_told() {
    let connection = |name: &str, quota: &str| {
        format!(
            "[connections.\"patreon/{name}\"]\noauth = {{ client_id = \"shop\", client_secret_env = \"TOKEN\", refresh_token_env = \"TOKEN\" }}\n{quota}\n"
        )
    };
    let half = "quotas.client = { limit = 50, window = \"2s\" }";
    for (quota, told) in [("", true), (half, false)] {
        let two = format!("{}{}", connection("a", quota), connection("b", quota));
        let ended = check(&format!("token_env = \"TOKEN\"\n{two}"));
        assert_eq!(ended.code, 0, "{ended:?}");
        let sentence = "patreon/a, patreon/b share the OAuth client shop";
        assert_eq!(ended.err.contains(sentence), told, "{}", ended.err);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let cases = [
        ("token_env = \"NOWHERE\"", "NOWHERE is not set: export it"),
        ("token_env = \"TOKEN\"\ntypo = 1", "is no setting"),
        (
            "token_env = \"TOKEN\"\nschedules = [{ record_type = \"order\", mode = \"full\", cron = \"* * * * *\" }]",
            "connections.klaviyo/main.schedules[0].record_type: \"order\": no such record type on klaviyo; there are profile",
        ),
    ];
    for (connection, expected) in cases {
        let ended = check(connection);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains(expected), "{}", ended.err);
    }
}
