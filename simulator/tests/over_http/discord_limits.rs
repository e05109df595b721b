//! Discord's limits: buckets found in headers, the global one, the ban.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Fault, Hits, Platform, QuotaConfig, QuotaScope, RecordType};

use crate::client::{DISCORD, records, with};

#[tokio::test]
async fn buckets_are_named_by_endpoint_and_counted_by_guild() {
    let (simulator, client) = with(|config| {
        config.discord.account.quotas = vec![
            QuotaConfig::new("global", 9, 3_600_000),
            QuotaConfig::new("route", 2, 3_600_000).per(QuotaScope::Route, &[]),
        ];
    })
    .await;
    let guilds = records(&simulator, Platform::Discord, RecordType::Guild);
    let path = |n: usize| format!("/guilds/{}/roles", guilds[n].external_id);
    let first = client.discord(&simulator, &path(0)).await;
    let other = client.discord(&simulator, &path(1)).await;
    assert_eq!(first.header("x-ratelimit-bucket"), other.header("x-ratelimit-bucket"));
    for reply in [&first, &other] {
        assert_eq!(reply.header("x-ratelimit-limit"), Some("2"));
        assert_eq!(reply.header("x-ratelimit-remaining"), Some("1"), "each guild has its own");
        let decimals = |name| reply.header(name).unwrap().split_once('.').unwrap().1.len();
        assert_eq!((decimals("x-ratelimit-reset"), decimals("x-ratelimit-reset-after")), (3, 3));
    }
    client.discord(&simulator, &path(0)).await;
    let refused = client.discord(&simulator, &path(0)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("3600")));
    assert_eq!(refused.header("x-ratelimit-scope"), Some("user"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    let body = &refused.json;
    assert_eq!((&body["global"], body["retry_after"].is_f64()), (&json!(false), true));
    let guild = format!("/guilds/{}", guilds[0].external_id);
    let free = client.discord(&simulator, &guild).await;
    assert_ne!(free.header("x-ratelimit-bucket"), first.header("x-ratelimit-bucket"));

    // Four so far, the refused one not among them; these are the last five of the nine.
    for n in [0, 1] {
        for path in ["members", "roles/1"] {
            client.discord(&simulator, &format!("/guilds/{}/{path}", guilds[n].external_id)).await;
        }
    }
    client.discord(&simulator, "/applications/@me").await;
    let refused = client.discord(&simulator, "/users/@me/guilds").await;
    assert_eq!(refused.header("x-ratelimit-global"), Some("true"));
    assert_eq!(refused.header("x-ratelimit-scope"), Some("global"));
    assert_eq!(refused.json["global"], true);
}

#[tokio::test]
async fn a_shared_limit_may_contradict_itself_and_does_not_count_to_the_ban() {
    let (simulator, client) = with(|config| {
        config.discord.account.quotas.clear();
        let edge = config.discord.account.edge.as_mut().unwrap();
        (edge.limit, edge.block_ms) = (2, 3_600_000);
    })
    .await;
    let shared = Fault::Limited {
        retry_after_ms: 1_336_570,
        reset_after_ms: 64_570,
        scope: "shared".to_owned(),
    };
    simulator.fault(Platform::Discord, shared, Hits::Next(3));
    for _ in 0..3 {
        let reply = client.discord(&simulator, "/users/@me/guilds").await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("1337")));
        assert_eq!(reply.header("x-ratelimit-reset-after"), Some("64.570"));
        assert_eq!(reply.json["retry_after"], 1_336.57);
    }
    assert_eq!(client.discord(&simulator, "/users/@me/guilds").await.status, 200);

    let url = format!("{}/users/@me/guilds", simulator.discord_url);
    for _ in 0..2 {
        assert_eq!(client.send(Method::GET, &url, &DISCORD[..1], None).await.status, 401);
    }
    let blocked = client.discord(&simulator, "/users/@me/guilds").await;
    assert_eq!((blocked.status.as_u16(), &blocked.json), (429, &Value::Null));
    assert_eq!(blocked.header("retry-after"), Some("3600"));
    assert!(blocked.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(simulator.stats().discord.blocked, 1);
}
