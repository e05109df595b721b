use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use insta::assert_snapshot;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::*;

const NEEDED: [(&str, &str); 2] = [
    ("REDIS_URL", "redis://127.0.0.1:6379"),
    ("DATABASE_URL", "postgres://syncline:hunter2@127.0.0.1/syncline"),
];

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment: BTreeMap<_, _> = NEEDED
        .iter()
        .chain(environment)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_parts(Some(("syncline.toml", file)), &environment)
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    let error = load(file, environment).unwrap_err();
    let (shown, debugged) = (error.to_string(), format!("{error:?}"));
    for text in [&shown, &debugged] {
        assert!(!text.contains("hunter2"), "a secret was told: {text}");
    }
    shown
}

fn leaves(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves(&format!("{prefix}.{name}"), value, into);
            }
        }
        _ => assert!(into.insert(prefix.to_owned()), "{prefix} twice"),
    }
}

#[test]
fn the_defaults_have_every_setting_exactly_once() {
    let defaults: Value = ::config::Config::builder()
        .add_source(::config::File::from_str(DEFAULTS, ::config::FileFormat::Toml))
        .build()
        .unwrap()
        .try_deserialize()
        .unwrap();
    let config = serde_json::to_value(load("", &[]).unwrap()).unwrap();
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    leaves("", &defaults, &mut written);
    leaves("", &config, &mut known);
    assert_eq!(written, known);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[worker]\nlease = \"2m\"\nconcurrency = 4\n";
    let config = load(file, &[("SYNCLINE__WORKER__CONCURRENCY", "8"), ("OTHER", "1")]).unwrap();
    assert_eq!(config.worker.lease, Duration::from_mins(2));
    assert_eq!(config.worker.concurrency, 8);
    assert_eq!(config.worker.heartbeat, Duration::from_secs(15));
    assert_eq!(config.redis.url.expose_secret(), "redis://127.0.0.1:6379");

    let config = load("[redis]\nurl = \"unix:///run/redis.sock\"", &[]).unwrap();
    assert_eq!(config.redis.url.expose_secret(), "unix:///run/redis.sock");
}

/// All files with this ending in `deploy/`, as pairs of path and text.
fn deployed(ending: &str) -> Vec<(String, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn every_sample_of_a_configuration_is_one() {
    let secrets = tempfile::tempdir().unwrap();
    for (file, (_, url)) in ["redis_url", "database_url"].into_iter().zip(NEEDED) {
        fs::write(secrets.path().join(file), url).unwrap();
    }
    let samples = deployed("toml");
    assert!(!samples.is_empty());
    for (name, text) in samples {
        let text = text.replace("/run/secrets/syncline", secrets.path().to_str().unwrap());
        let read = Config::from_parts(Some((&name, &text)), &BTreeMap::new());
        assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
    }
}

#[test]
fn deployments_set_only_variables_that_there_are() {
    let mut known = BTreeSet::new();
    leaves("", &serde_json::to_value(load("", &[]).unwrap()).unwrap(), &mut known);
    let mut set = 0;
    for (name, text) in deployed("yaml") {
        for variable in text.split("SYNCLINE__").skip(1) {
            let end = variable.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap();
            let key = variable[..end].to_lowercase().replace("__", ".");
            let key = key.strip_suffix("_file").unwrap_or(&key);
            assert!(known.contains(&format!(".{key}")), "{name} sets {key}");
            set += 1;
        }
    }
    assert!(set > 0);
}

#[test]
fn a_deployment_gives_its_processes_the_time_to_drain() {
    let config = load("", &[]).unwrap();
    let number = |text: &str, after: &str| -> Option<u64> {
        let rest = text.split_once(after)?.1;
        rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let files: BTreeMap<_, _> = deployed("yaml").into_iter().collect();
    let ingress = config.ingress.leave + config.ingress.drain;
    for (process, drain) in [("worker", config.worker.drain), ("ingress", ingress)] {
        let text = files.iter().find(|(n, _)| n.ends_with(&format!("/{process}.yaml"))).unwrap().1;
        let grace = number(text, "terminationGracePeriodSeconds:").unwrap();
        assert!(grace > drain.as_secs(), "{process}: {grace} s");

        let compose = files.iter().find(|(n, _)| n.ends_with("compose.yaml")).unwrap().1;
        let service = compose.split_once(&format!("\n  {process}:\n")).unwrap().1;
        let grace = number(service, "stop_grace_period:").unwrap();
        assert!(grace > drain.as_secs(), "{process} in compose: {grace} s");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let config = load("", &[("SYNCLINE__CONSOLE__TOKEN", "hunter2hunter2hunter2")]).unwrap();
    assert!(config.console.token().is_some());
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
}

#[test]
fn every_problem_is_told_at_once_with_key_value_place_and_remedy() {
    let file = r#"
        colour = "blue"
        [worker]
        lease = "20s"
        concurrency = "many"
        retry_base = "soon"
        leese = 1
        bulk_floor_percent = 26
        max_attempts = 1.5
        retry_cap = true
        [scheduler]
        mass_delete_share = 1.5
        repair_senders = 1
        [telemetry]
        log_format = "xml"
        [ingress]
        listen = "everywhere"
    "#;
    let environment = [
        ("SYNCLINE__API__READ_TIMEOUT", "31s"),
        ("SYNCLINE__REDIS__URL", "http://:hunter2@there"),
        ("SYNCLINE__WORKER__DRAIN", "25"),
    ];
    assert_snapshot!(refused(file, &environment), @r#"
    the configuration has 15 problems
      api.read_timeout = "31s" (SYNCLINE__API__READ_TIMEOUT): must be above zero and at most api.whole_timeout
      colour = "blue" (syncline.toml): is no setting: correct or remove it (expected one of redis, postgres, credentials, telemetry, api, ingress, worker, scheduler, console, connections)
      ingress.listen = "everywhere" (syncline.toml): is no address to listen on: write numbers, like 127.0.0.1:8080 or [::]:8080
      redis.url (SYNCLINE__REDIS__URL): is no address of Redis: write redis://host:port, rediss://host:port, unix:///path/to/socket, redis+sentinel://host:port,host:port/<master> or redis+cluster://host:port,host:port
      scheduler.mass_delete_share = 1.5 (syncline.toml): must be above 0 and at most 1; 1 turns the brake off
      scheduler.repair_senders = 1 (syncline.toml): must be true or false
      telemetry.log_format = "xml" (syncline.toml): is no format of logs: write text or json
      worker.bulk_floor_percent = 26 (syncline.toml): must be 0 to 25; 0 sets no floor
      worker.concurrency = "many" (syncline.toml): must be an integer
      worker.drain = "25" (SYNCLINE__WORKER__DRAIN): is no duration: write a number with its unit, like 500ms, 30s, 5m or 1h
      worker.heartbeat = "15s" (the default): must be above zero and at most a third of worker.lease (20s), so that a lease survives two lost ones
      worker.leese = 1 (syncline.toml): is no setting: correct or remove it (expected one of listen, concurrency, platform_share, urgent_slots, bulk_floor_percent, spot_check_floor_percent, lease, heartbeat, drain, permit_use_by, max_attempts, scan_backlog_max, retry_base, retry_cap, outgoing_address, error_budget_share, missing_confirm_after)
      worker.max_attempts = 1.5 (syncline.toml): must be a whole number
      worker.retry_base = "soon" (syncline.toml): is no duration: write a number with its unit, like 500ms, 30s, 5m or 1h
      worker.retry_cap = true (syncline.toml): is neither true nor false: write what the default shows
    "#);
}

#[test]
fn what_must_be_set_is_named() {
    let error = Config::from_parts(None, &BTreeMap::new()).unwrap_err();
    assert_snapshot!(error, @r#"
    the configuration has 2 problems
      postgres.url: is not set: set SYNCLINE__POSTGRES__URL or DATABASE_URL to postgres://user:password@host:port/database
      redis.url: is not set: set SYNCLINE__REDIS__URL or REDIS_URL to redis://host:port
    "#);
}

#[test]
fn a_console_that_can_be_reached_needs_a_token() {
    let open = "[console]\nlisten = \"0.0.0.0:8083\"";
    assert_snapshot!(refused(open, &[]), @r#"
    the configuration has 1 problem
      console.listen = "0.0.0.0:8083" (syncline.toml): is reachable from outside and there is no token: set SYNCLINE__CONSOLE__TOKEN or console.token_file, or listen on 127.0.0.1
    "#);
    assert!(load(open, &[("SYNCLINE__CONSOLE__TOKEN", "0123456789abcdef")]).is_ok());
}

#[test]
fn a_contact_is_an_address_that_can_stand_in_a_header() {
    for good in ["", "https://ops.example.org/who?mirror=1"] {
        assert!(load(&format!("[api]\ncontact = \"{good}\""), &[]).is_ok(), "{good}");
    }
    for bad in ["ops@example.org", "ftp://example.org", "https://a.b/ c", "https://a.b/(c)"] {
        let said = refused(&format!("[api]\ncontact = \"{bad}\""), &[]);
        assert!(said.contains("api.contact"), "{bad}: {said}");
    }
}

#[test]
fn secrets_do_not_stand_in_the_file() {
    let file = r#"
        redis.url = "redis://:hunter2@127.0.0.1"
        console.token = "hunter2"
        [connections."klaviyo/main"]
        token = "hunter2"
    "#;
    assert_snapshot!(refused(file, &[]), @r#"
    the configuration has 5 problems
      connections.klaviyo/main.token (syncline.toml): a secret does not stand in the configuration: put it into a file and name that with token_file, or into a variable and name that with token_env
      connections.klaviyo/main.token_file: is not set: name the file that holds the token, or the variable with token_env
      console.token (syncline.toml): a secret stands in the configuration: put it into SYNCLINE__CONSOLE__TOKEN, or into a file of its own and name that with console.token_file
      console.token (syncline.toml): is shorter than 16 characters: make one with openssl rand -hex 24
      redis.url (syncline.toml): a secret stands in the configuration: put it into SYNCLINE__REDIS__URL, or into a file of its own and name that with redis.url_file
    "#);
}

#[test]
fn redis_has_one_address_and_its_files_belong_to_tls() {
    let at = |url: &str, file: &str| load(file, &[("SYNCLINE__REDIS__URL", url)]);
    for url in ["rediss://h", "redis+sentinel://:pw@a,b/main", "redis+cluster://:pw@a:1,b:2"] {
        assert!(at(url, "").is_ok(), "{url}");
    }
    let files = "[redis]\nca_file = \"ca\"\ncert_file = \"cert\"\nshards = 65";
    let refused = |url| at(url, files).unwrap_err().to_string();
    assert_snapshot!(refused("redis+cluster://:hunter2@a,"), @"
    the configuration has 2 problems
      redis.shards = 65 (syncline.toml): must be 1 to 64: 1, or a few for each node of a cluster
      redis.url (SYNCLINE__REDIS__URL): is no address of Redis: number 2 of its hosts is not one; write host:port, and percent-encode what is special in a user or a password
    ");
    assert_snapshot!(refused("redis://:hunter2@h"), @r#"
    the configuration has 4 problems
      redis.ca_file = "ca" (syncline.toml): is of use with TLS only: write rediss:// in redis.url, or leave it out
      redis.cert_file = "cert" (syncline.toml): is of use with TLS only: write rediss:// in redis.url, or leave it out
      redis.key_file: certificate and key belong together: set both, or none
      redis.shards = 65 (syncline.toml): must be 1 to 64: 1, or a few for each node of a cluster
    "#);
    for secret in
        ["redis+sentinel://:hunter2@a:1,b:2/m", "redis+sentinel://a/m?sentinel_password=hunter2"]
    {
        let file = format!("redis.url = {secret:?}");
        assert!(self::refused(&file, &[]).contains("a secret stands in the configuration"));
    }
    let missing = at("rediss://h", "[redis]\nca_file = \"/nowhere/ca.pem\"").unwrap();
    let error = missing.redis.address().unwrap_err().to_string();
    assert!(error.starts_with("redis.ca_file: /nowhere/ca.pem cannot be read"), "{error}");
}

#[test]
fn what_is_not_toml_is_refused_without_quoting_it() {
    assert_snapshot!(refused("[redis]\nurl = \"hunter2\n", &[]), @r#"
    syncline.toml is not TOML: TOML parse error at line 2, column 15: invalid basic string, expected `"`
    "#);
}

#[test]
fn a_secret_comes_from_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    fs::write(&path, "postgres://a:b@c/d\n").unwrap();
    let file = format!("[postgres]\nurl_file = {path:?}");
    let config = load(&file, &[]).unwrap();
    assert_eq!(config.postgres.url.expose_secret(), "postgres://a:b@c/d");

    let both = [("SYNCLINE__POSTGRES__URL", "postgres://e:f@g/h")];
    assert_snapshot!(refused(&file, &both), @r#"
    the configuration has 1 problem
      postgres.url_file: postgres.url is set too: keep one of them
    "#);

    fs::write(&path, "\n").unwrap();
    let shown = refused(&file, &[]).replace(path.to_str().unwrap(), "<path>");
    assert_snapshot!(shown, @r#"
    the configuration has 1 problem
      postgres.url_file: <path> is empty or longer than 65536 bytes
    "#);
}

const CONNECTION: &str = r#"
    [connections."klaviyo/main"]
    account = "XyZ123"
    token_file = "/run/secrets/klaviyo"
    webhook_secret_env = "KLAVIYO_WEBHOOK_SECRET"
    endpoint_id_file = "/run/secrets/klaviyo-endpoint"
    base_url = "http://127.0.0.1:9000"
    confirm_after = ["20s", "5m"]
    young = "5m"
    quotas.steady = { limit = 500, window = "1m", burst = 40 }
    schedules = [{ record_type = "profile", mode = "changes", cron = "*/15 * * * *" }]
"#;

#[test]
fn a_connection_is_read_with_all_its_settings() {
    let config = load(CONNECTION, &[]).unwrap();
    let (lane, connection) = config.connections.first_key_value().unwrap();
    assert_eq!(lane.as_str(), "klaviyo/main");
    assert_eq!(connection.confirm_after.as_ref().unwrap()[1], Duration::from_mins(5));
    let quota = connection.quotas["steady"].quota("steady");
    assert_eq!((quota.limit, quota.burst, quota.headroom), (500, 40, 8));
    assert_eq!(connection.schedules[0].mode, ScanMode::Changes);
}

#[test]
fn a_connection_that_makes_no_sense_is_explained() {
    let file = r#"
        [connections."Klaviyo/main"]
        [connections."klaviyo/main"]
        token_file = "/run/secrets/klaviyo"
        token_env = "KLAVIYO_TOKEN"
        base_url = "http://syncline:hunter2@example.com"
        quotas.steady = { limit = 0, window = "1m" }
        schedules = [
          { record_type = "profile", mode = "changes", cron = "*/15 * * * *" },
          { record_type = "profile", mode = "full", cron = "every monday" },
        ]
        [connections."eventbrite/main"]
        young = "young"
        colour = "orange"
        quotas.hour = { limit = 1000 }
    "#;
    assert_snapshot!(refused(file, &[]), @r#"
    the configuration has 9 problems
      connections.Klaviyo/main: "Klaviyo/main" does not name a connection: write <platform>/<name> in lower case letters, digits, - and _, 64 at most each
      connections.eventbrite/main.colour = "orange" (syncline.toml): is no setting: correct or remove it (expected one of account, token_file, token_env, webhook_secret_file, webhook_secret_env, notice_secret_file, notice_secret_env, endpoint_id_file, endpoint_id_env, oauth, base_url, quotas, confirm_after, young, weights, schedules)
      connections.eventbrite/main.quotas.hour.window: is missing: set it
      connections.eventbrite/main.token_file: is not set: name the file that holds the token, or the variable with token_env
      connections.eventbrite/main.young = "young" (syncline.toml): is no duration: write a number with its unit, like 500ms, 30s, 5m or 1h
      connections.klaviyo/main.base_url (syncline.toml): must be https:// (or http:// to a loopback address), without user, query and fragment: the token is sent there
      connections.klaviyo/main.quotas.steady: limit must be at least 1
      connections.klaviyo/main.schedules[1].cron = "every monday" (syncline.toml): is no cron expression (Invalid pattern: Pattern must have between 5 and 7 fields.): write minute hour day month weekday, like */15 * * * *
      connections.klaviyo/main.token_file = "/run/secrets/klaviyo" (syncline.toml): connections.klaviyo/main.token_env is set too: keep one of them
    "#);
}

#[test]
fn the_secrets_of_a_connection_are_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let config = load(CONNECTION, &[]).unwrap();
    let (lane, connection) = config.connections.into_iter().next().unwrap();
    let good = ConnectionConfig {
        token_file: Some(write("token", "hunter2\r\n")),
        webhook_secret_env: None,
        endpoint_id_file: Some(write("endpoint", "0123456789abcdef01234567")),
        ..connection
    };
    let secrets = good.secrets(&lane).unwrap();
    assert_eq!(secrets.token.as_ref().unwrap().expose_secret(), "hunter2");
    assert!(secrets.webhook_secret.is_none());
    assert!(!format!("{secrets:?}").contains("hunter2"));

    let bad = ConnectionConfig {
        token_file: Some(write("empty", "")),
        webhook_secret_env: Some("SYNCLINE_NO_SUCH_VARIABLE".to_owned()),
        notice_secret_file: Some(write("notice", "hunter2")),
        endpoint_id_file: Some(write("short", "hunter2")),
        ..good
    };
    let shown = bad.secrets(&lane).unwrap_err().to_string();
    assert_snapshot!(shown.replace(folder.path().to_str().unwrap(), "<folder>"), @r#"
    the configuration has 4 problems
      connections.klaviyo/main.token_file: <folder>/empty is empty or longer than 65536 bytes
      connections.klaviyo/main.webhook_secret_env: SYNCLINE_NO_SUCH_VARIABLE is not set: export it
      connections.klaviyo/main.notice_secret: must be at least 16 characters: make one with openssl rand -hex 32
      connections.klaviyo/main.endpoint_id: must be at least 24 letters, digits, - or _: make one with openssl rand -hex 24
    "#);
}

#[test]
fn a_renewed_connection_needs_no_token_but_all_that_renews_it() {
    let file = r#"
        [credentials]
        key_file = "/run/secrets/key"
        key_env = "KEY"
        key = "hunter2"
        [connections."patreon/main"]
        oauth = { client_id = "", client_secret_file = "/a", client_secret_env = "A", refresh_token = "hunter2" }
    "#;
    assert_snapshot!(refused(file, &[]), @r#"
    the configuration has 6 problems
      connections.patreon/main.oauth.client_id: is empty: set it to what the platform calls the application
      connections.patreon/main.oauth.client_secret_file = "/a" (syncline.toml): connections.patreon/main.oauth.client_secret_env is set too: keep one of them
      connections.patreon/main.oauth.refresh_token (syncline.toml): a secret does not stand in the configuration: put it into a file and name that with refresh_token_file, or into a variable and name that with refresh_token_env
      connections.patreon/main.oauth.refresh_token_file: is not set: name the file that holds it, or the variable with refresh_token_env
      credentials.key (syncline.toml): a secret does not stand in the configuration: put it into a file and name that with key_file, or into a variable and name that with key_env
      credentials.key_file = "/run/secrets/key" (syncline.toml): credentials.key_env is set too: keep one of them
    "#);
}

#[test]
fn keys_are_read_from_their_file_and_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let keys = |text: &str| {
        fs::write(&file, text).unwrap();
        CredentialsConfig { key_file: file.clone(), key_env: String::new() }.keys()
    };
    assert!(keys(&"ab".repeat(32)).unwrap().is_some());
    let error = keys("hunter2").unwrap_err().to_string();
    assert!(error.contains("credentials.key_file: line 1 is no key"), "{error}");
    assert!(!error.contains("hunter2"));
    assert!(CredentialsConfig::default().keys().unwrap().is_none());
}

#[test]
fn settings_without_secrets_survive_being_stored() {
    let lane = "klaviyo/main".parse().unwrap();
    let text = r#"
        account = "XyZ"
        base_url = "http://127.0.0.1:9000"
        confirm_after = ["20s", "5m"]
        young = "1m"
        quotas.steady = { limit = 100, window = "1m", burst = 7 }
        schedules = [{ record_type = "profile", mode = "full", cron = "0 3 * * *" }]
    "#;
    let read = ConnectionConfig::without_secrets(&lane, "s.toml", text).unwrap();
    let stored = serde_json::to_value(&read).unwrap();
    let again: ConnectionConfig = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), stored);
    assert_eq!((again.confirm_after, again.young), (read.confirm_after, read.young));
    assert_eq!((again.quotas, again.schedules), (read.quotas, read.schedules));
    for (text, expected) in [
        ("token_file = \"/a\"", "take the keys that name theirs out"),
        ("token = \"hunter2\"", "token"),
        ("young = 5", "young"),
        ("quotas.steady = { limit = 0, window = \"1m\" }", "limit must be at least 1"),
        ("not toml", "is not TOML"),
    ] {
        let error =
            ConnectionConfig::without_secrets(&lane, "s.toml", text).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
    }
}
