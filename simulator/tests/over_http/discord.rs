//! Discord's API: names, tokens, buckets, snowflakes, lost guilds.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ChangeKind, GuildAccess, Platform, RecordType, Simulator, Switches};

use crate::client::{DISCORD, Headers, quiet, records, silently, texts, with};

fn guild(simulator: &Simulator) -> String {
    records(simulator, Platform::Discord, RecordType::Guild).remove(0).external_id
}

fn unlimited(config: &mut simulator::Config) {
    config.discord.account.quotas.clear();
}

#[tokio::test]
async fn the_form_of_the_name_and_of_the_token_is_demanded() {
    const NAME: (&str, &str) = DISCORD[0];
    const TOKEN: (&str, &str) = DISCORD[1];
    let (simulator, client) = quiet().await;
    let url = format!("{}/users/@me/guilds", simulator.discord_url);
    let cases: [(Headers, u16, u64); 7] = [
        (&[TOKEN], 403, 40_333),
        (&[TOKEN, ("user-agent", "curl/8")], 403, 40_333),
        (&[TOKEN, ("user-agent", "DiscordBot (1.0)")], 403, 40_333),
        (&[NAME], 401, 40_001),
        (&[NAME, ("authorization", "simulated-bot-token")], 401, 50_014),
        (&[NAME, ("authorization", "Bot wrong")], 401, 50_014),
        (&[NAME, TOKEN], 200, 0),
    ];
    for (headers, status, code) in cases {
        let reply = client.send(Method::GET, &url, headers, None).await;
        assert_eq!(reply.status, status, "{headers:?}");
        if status != 200 {
            assert_eq!(reply.json["code"], code, "{headers:?}");
            assert!(reply.json["message"].is_string());
        }
    }
}

#[tokio::test]
async fn what_the_document_does_not_allow_is_an_invalid_form() {
    let (simulator, client) = with(unlimited).await;
    let guild = guild(&simulator);
    let application = "/applications/1019370614521200999";
    for (path, field) in [
        (format!("/guilds/{guild}/members?limit=1001"), "limit"),
        (format!("/guilds/{guild}/members?limit=0"), "limit"),
        (format!("/guilds/{guild}/members?after=abc"), "after"),
        (format!("/guilds/{guild}/members?before=1"), "before"),
        (format!("/guilds/{guild}?with_counts=maybe"), "with_counts"),
        (format!("/guilds/{guild}/roles?limit=1"), "limit"),
        ("/users/@me/guilds?limit=201".to_owned(), "limit"),
        (format!("{application}/entitlements?limit=101"), "limit"),
        (format!("{application}/entitlements?deleted=true"), "deleted"),
    ] {
        let reply = client.discord(&simulator, &path).await;
        assert_eq!((reply.status.as_u16(), &reply.json["code"]), (400, &json!(50_035)), "{path}");
        assert!(reply.json["errors"][field]["_errors"].is_array(), "{path}");
    }
    for (path, code) in [
        ("/guilds/1".to_owned(), 10_004),
        (format!("/guilds/{guild}/members/1"), 10_007),
        (format!("/guilds/{guild}/roles/1"), 10_011),
    ] {
        let reply = client.discord(&simulator, &path).await;
        assert_eq!((reply.status.as_u16(), &reply.json["code"]), (404, &json!(code)), "{path}");
    }
    let patched =
        client.discord_send(&simulator, Method::PATCH, &format!("/guilds/{guild}"), None).await;
    assert_eq!(patched.json["code"], 50_035, "a body has a content type");
}

#[tokio::test]
async fn members_come_one_by_one_unless_asked_and_by_number_not_by_text() {
    let (simulator, client) = with(unlimited).await;
    let guild = guild(&simulator);
    let list = format!("/guilds/{guild}/members");
    assert_eq!(client.discord(&simulator, &list).await.json.as_array().unwrap().len(), 1);

    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = client.discord(&simulator, &format!("{list}?limit=7&after={after}")).await.json;
        let ids: Vec<u64> = texts(&page, "/user/id").iter().map(|id| id.parse().unwrap()).collect();
        after = ids.iter().copied().max().unwrap_or(after);
        seen.extend(&ids);
        if ids.len() < 7 {
            break;
        }
    }
    let members = records(&simulator, Platform::Discord, RecordType::Member);
    let here = members.iter().filter(|one| one.external_id.starts_with(&guild)).count();
    assert_eq!(seen.len(), here);
    assert!(seen.is_sorted() && seen.iter().all(|id| *id > 1 << 53));
    assert!(!seen.iter().map(u64::to_string).collect::<Vec<_>>().is_sorted(), "as texts");

    let switches = Switches { shuffled_members: true, ..Switches::default() };
    simulator.set_switches(Platform::Discord, switches);
    let page = client.discord(&simulator, &format!("{list}?limit=1000")).await.json;
    let ids: Vec<u64> = texts(&page, "/user/id").iter().map(|id| id.parse().unwrap()).collect();
    assert!(!ids.is_sorted() && ids.len() == here, "all of them, in no order");
}

#[tokio::test]
async fn a_guild_that_is_lost_says_so_and_its_members_are_not_gone() {
    let (simulator, client) = quiet().await;
    let guild = guild(&simulator);
    for (access, status, code) in
        [(GuildAccess::Missing, 403, 50_001), (GuildAccess::Unknown, 404, 10_004)]
    {
        let guild_access = [(guild.clone(), access)].into();
        let switches = Switches { guild_access, ..Switches::default() };
        simulator.set_switches(Platform::Discord, switches);
        for path in [format!("/guilds/{guild}"), format!("/guilds/{guild}/members/1")] {
            let reply = client.discord(&simulator, &path).await;
            assert_eq!(reply.status, status);
            assert_eq!(reply.json["code"], code);
        }
        let mine = client.discord(&simulator, "/users/@me/guilds").await.json;
        assert!(!texts(&mine, "/id").contains(&guild));
    }
    assert!(simulator.truth().deleted.is_empty());
}

#[tokio::test]
async fn the_same_things_look_different_from_read_to_read() {
    let (simulator, client) = with(unlimited).await;
    let guild = guild(&simulator);
    let members = records(&simulator, Platform::Discord, RecordType::Member);
    let many = |member: &Value| member["roles"].as_array().unwrap().len() > 1;
    let member = members.iter().find(|one| many(&one.payload)).unwrap();
    let (own_guild, user) = member.external_id.split_once('/').unwrap();
    let (mut roles, mut keys, mut counts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..30 {
        let path = format!("/guilds/{own_guild}/members/{user}");
        let shown = client.discord(&simulator, &path).await.json;
        roles.insert(shown["roles"].to_string());
        keys.insert(shown.as_object().unwrap().len());
        let path = format!("/guilds/{guild}?with_counts=true");
        let shown = client.discord(&simulator, &path).await.json;
        counts.insert(shown["approximate_member_count"].to_string());
    }
    assert!(roles.len() > 1 && keys.len() > 1 && counts.len() > 1);
    let quiet = client.discord(&simulator, &format!("/guilds/{guild}")).await.json;
    assert_eq!(quiet.get("approximate_member_count"), None);
}

#[tokio::test]
async fn a_tag_is_true_when_its_key_is_there_and_its_value_is_null() {
    let (simulator, client) = with(|config| {
        unlimited(config);
        config.discord.roles = 40;
    })
    .await;
    let guild = guild(&simulator);
    let roles = client.discord(&simulator, &format!("/guilds/{guild}/roles")).await.json;
    let roles = roles.as_array().unwrap();
    assert!(
        roles.iter().any(|role| role.get("tags") == Some(&json!({ "premium_subscriber": null })))
    );
    assert!(roles.iter().any(|role| role.get("tags").is_none()));
    assert!(roles.iter().any(|role| role["id"] == guild && role["name"] == "@everyone"));
}

#[tokio::test]
async fn with_a_role_all_who_had_it_lose_it_and_only_the_role_is_told_of() {
    let (simulator, client) = with(unlimited).await;
    let holders = |role: &str| {
        let members = records(&simulator, Platform::Discord, RecordType::Member);
        let has = |member: &Value| member["roles"].as_array().unwrap().contains(&json!(role));
        members.iter().filter(|one| has(&one.payload)).count()
    };
    let roles = records(&simulator, Platform::Discord, RecordType::Role);
    let role = roles.iter().find(|role| holders(role.payload["id"].as_str().unwrap()) > 0).unwrap();
    let own = role.payload["id"].as_str().unwrap();
    let delete =
        silently(Platform::Discord, ChangeKind::Delete, RecordType::Role, Some(&role.external_id));
    simulator.change(&delete).unwrap();
    assert_eq!(holders(own), 0);
    let path = format!("/guilds/{}", role.external_id.replace('/', "/roles/"));
    assert_eq!(client.discord(&simulator, &path).await.json["code"], 10_011);
}

#[tokio::test]
async fn a_deleted_entitlement_is_shown_only_when_the_deleted_are_asked_for() {
    let (simulator, client) = with(unlimited).await;
    let id = records(&simulator, Platform::Discord, RecordType::Entitlement).remove(0).external_id;
    let delete =
        silently(Platform::Discord, ChangeKind::Delete, RecordType::Entitlement, Some(&id));
    simulator.change(&delete).unwrap();
    let list = "/applications/1019370614521200999/entitlements";
    let usual = client.discord(&simulator, list).await.json;
    assert!(!texts(&usual, "/id").contains(&id));
    let all = client.discord(&simulator, &format!("{list}?exclude_deleted=false")).await.json;
    assert!(texts(&all, "/id").contains(&id));
    let ids: Vec<u64> = texts(&all, "/id").iter().map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted());

    let before = format!("{list}?exclude_deleted=false&limit=2&before={}", ids[5]);
    let page = client.discord(&simulator, &before).await.json;
    assert_eq!(texts(&page, "/id"), [ids[3].to_string(), ids[4].to_string()]);
}

#[tokio::test]
async fn a_user_is_the_same_in_every_guild() {
    let (simulator, _) = with(|config| config.discord.members = 200).await;
    let name = |guild_and_user: &str| {
        let members = records(&simulator, Platform::Discord, RecordType::Member);
        let found = members.into_iter().find(|one| one.external_id == guild_and_user).unwrap();
        found.payload["user"]["global_name"].clone()
    };
    let members = records(&simulator, Platform::Discord, RecordType::Member);
    let user = |id: &str| id.split_once('/').unwrap().1.to_owned();
    let twice = members.iter().find_map(|one| {
        let other = members.iter().find(|other| {
            other.external_id != one.external_id
                && user(&other.external_id) == user(&one.external_id)
        });
        other.map(|other| (one.external_id.clone(), other.external_id.clone()))
    });
    let (one, other) = twice.expect("somebody is in both guilds");
    let before = name(&other);
    for _ in 0..60 {
        let edit = silently(Platform::Discord, ChangeKind::Edit, RecordType::Member, Some(&one));
        simulator.change(&edit).unwrap();
        assert_eq!(name(&one), name(&other));
    }
    assert_ne!(name(&other), before, "among sixty edits some are of the user");
}
