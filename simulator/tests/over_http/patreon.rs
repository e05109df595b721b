//! Patreon's API: what it refuses, what it leaves out, how it pages and ends.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ChangeKind, Platform, RecordType, Simulator, Switches};

use crate::client::{Client, Headers, PATREON, quiet, records, silently, texts, with};

const MEMBER: &str = "fields[member]=full_name,email,note,patron_status,last_charge_date";

fn campaign(simulator: &Simulator) -> String {
    records(simulator, Platform::Patreon, RecordType::Campaign).remove(0).external_id
}

fn a_member(simulator: &Simulator, paid: bool) -> String {
    let members = records(simulator, Platform::Patreon, RecordType::Member);
    let status = "/attributes/campaign_lifetime_support_cents";
    let wanted = members
        .into_iter()
        .find(|member| (member.payload.pointer(status).unwrap().as_u64().unwrap() > 0) == paid);
    wanted.unwrap().external_id
}

fn switch(simulator: &Simulator, switches: Switches) {
    simulator.set_switches(Platform::Patreon, switches);
}

#[tokio::test]
async fn a_name_and_a_token_are_required_and_json_alone_is_served() {
    const NAME: (&str, &str) = PATREON[0];
    const TOKEN: (&str, &str) = PATREON[1];
    let (simulator, client) = quiet().await;
    let url = format!("{}api/oauth2/v2/campaigns", simulator.patreon_url);
    let cases: [(Headers, u16); 6] = [
        (&[TOKEN], 403),
        (&[NAME], 401),
        (&[NAME, ("authorization", "Bearer wrong")], 401),
        (&[NAME, ("authorization", "simulated-access-token")], 401),
        (&[NAME, TOKEN, ("accept", "text/html")], 406),
        (&[NAME, TOKEN, ("accept", "application/json")], 200),
    ];
    for (headers, status) in cases {
        let reply = client.send(Method::GET, &url, headers, None).await;
        assert_eq!(reply.status, status, "{headers:?}");
        if status != 200 {
            assert_eq!(reply.json["errors"][0]["status"], status.to_string());
        }
    }
    let literal = format!("{url}?fields[campaign]=url");
    assert_eq!(client.send(Method::GET, &literal, &PATREON, None).await.status, 400);
    let deleted = client.patreon_send(&simulator, Method::DELETE, "/v2/campaigns", None).await;
    assert_eq!(deleted.status, 405);
}

#[tokio::test]
async fn what_the_document_does_not_have_is_an_error_that_names_the_parameter() {
    let (simulator, client) = quiet().await;
    let members = format!("/v2/campaigns/{}/members", campaign(&simulator));
    for (path, parameter) in [
        (format!("{members}?sort=created"), "sort"),
        (format!("{members}?fields[member]=nickname"), "fields[member]"),
        (format!("{members}?fields[person]=name"), "fields[person]"),
        (format!("{members}?include=posts"), "include"),
        (format!("{members}?page[count]=1001"), "page[count]"),
        (format!("{members}?include=pledge_history&page[count]=501"), "page[count]"),
        (format!("{members}?page[count]=0"), "page[count]"),
        (format!("{members}?page[cursor]=abc"), "page[cursor]"),
        (format!("/v2/members/{}?include=pledge_history", a_member(&simulator, true)), "include"),
    ] {
        let reply = client.patreon(&simulator, &path).await;
        assert_eq!(reply.status, 400, "{path}");
        let error = &reply.json["errors"][0];
        assert_eq!(error["source"]["parameter"], parameter, "{path}");
        assert_eq!(error["code"] == 3, parameter == "page[cursor]", "{path}");
    }
    for path in ["/v2/members/none", "/v2/campaigns/1/members", "/v2/tiers", "/v1/campaigns"] {
        assert_eq!(client.patreon(&simulator, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_returned_that_was_not_named() {
    let (simulator, client) = quiet().await;
    let path = format!("/v2/members/{}", a_member(&simulator, true));
    let bare = client.patreon(&simulator, &path).await.json;
    assert_eq!(bare["data"]["attributes"], json!({}));
    assert_eq!((bare["data"].get("relationships"), bare.get("included")), (None, None));

    let path = format!("{path}?fields[member]=note&include=user,currently_entitled_tiers");
    let named = client.patreon(&simulator, &format!("{path}&fields[tier]=title")).await.json;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&named["data"]["attributes"]), ["note"]);
    assert_eq!(keys(&named["data"]["relationships"]), ["currently_entitled_tiers", "user"]);
    for included in named["included"].as_array().unwrap() {
        let fields: &[&str] = if included["type"] == "tier" { &["title"] } else { &[] };
        assert_eq!(keys(&included["attributes"]), fields);
    }
}

#[tokio::test]
async fn the_cursor_leads_through_all_members_once_and_the_total_is_told() {
    let (simulator, client) = quiet().await;
    let list = format!("/v2/campaigns/{}/members?{MEMBER}", campaign(&simulator));
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.patreon(&simulator, &format!("{list}{cursor}")).await.json;
        seen.extend(texts(&page["data"], "/id"));
        pages += 1;
        let pagination = &page["meta"]["pagination"];
        assert_eq!(pagination["total"], 60);
        let Some(next) = pagination["cursors"]["next"].as_str() else { break };
        cursor = format!("&page[cursor]={next}");
    }
    assert_eq!((seen.len(), pages), (60, 3), "twenty on a page when nobody asks");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test]
async fn the_trap_leads_from_the_last_page_to_itself_under_fresh_cursors() {
    let (simulator, client) = quiet().await;
    switch(&simulator, Switches { endless_cursor: true, ..Switches::default() });
    let path = format!("/v2/campaigns/{}/members?page[count]=40", campaign(&simulator));
    let (mut seen, mut cursor, mut last) = (BTreeSet::new(), String::new(), Vec::new());
    for page in 0..5 {
        let reply = client.patreon(&simulator, &format!("{path}{cursor}")).await.json;
        let ids = texts(&reply["data"], "/id");
        if page > 1 {
            assert_eq!(ids, last, "the same last page");
        }
        last = ids;
        let next = reply["meta"]["pagination"]["cursors"]["next"].as_str().unwrap().to_owned();
        cursor = format!("&page[cursor]={next}");
        assert!(seen.insert(next), "a fresh cursor");
    }
}

#[tokio::test]
async fn a_cursor_that_has_run_out_is_code_3() {
    let (simulator, client) = quiet().await;
    let list = format!("/v2/campaigns/{}/members", campaign(&simulator));
    let page = client.patreon(&simulator, &list).await.json;
    let next = page["meta"]["pagination"]["cursors"]["next"].as_str().unwrap().to_owned();
    let switches = Switches { cursors_expire_after_ms: Some(0), ..Switches::default() };
    switch(&simulator, switches);
    let reply = client.patreon(&simulator, &format!("{list}?page[cursor]={next}")).await;
    assert_eq!((reply.status.as_u16(), &reply.json["errors"][0]["code"]), (400, &json!(3)));
    assert_eq!(reply.json["errors"][0]["source"]["parameter"], "page[cursor]");
}

#[tokio::test]
async fn who_paid_becomes_a_former_patron_and_who_did_not_is_gone() {
    let (simulator, client) = quiet().await;
    let (payer, follower) = (a_member(&simulator, true), a_member(&simulator, false));
    for id in [&payer, &follower] {
        let delete = silently(Platform::Patreon, ChangeKind::Delete, RecordType::Member, Some(id));
        simulator.change(&delete).unwrap();
    }
    let path = |id: &str| format!("/v2/members/{id}?{MEMBER}&include=currently_entitled_tiers");
    let former = client.patreon(&simulator, &path(&payer)).await.json;
    assert_eq!(former["data"]["attributes"]["patron_status"], "former_patron");
    let tiers = "/data/relationships/currently_entitled_tiers/data";
    assert_eq!(former.pointer(tiers), Some(&json!([])));

    assert_eq!(client.patreon(&simulator, &path(&follower)).await.status, 410);
    switch(&simulator, Switches { removed_is_not_found: true, ..Switches::default() });
    assert_eq!(client.patreon(&simulator, &path(&follower)).await.status, 404);
    assert_eq!(simulator.truth().deleted[0].external_id, follower);
}

#[tokio::test]
async fn the_same_member_looks_different_from_read_to_read() {
    let (simulator, client) = with(|config| {
        config.patreon.tiers = 4;
        config.patreon.account.quotas.clear();
    })
    .await;
    let members = records(&simulator, Platform::Patreon, RecordType::Member);
    let tiers = "/relationships/currently_entitled_tiers/data";
    let two = |payload: &Value| payload.pointer(tiers).unwrap().as_array().unwrap().len() == 2;
    let member = members.into_iter().find(|member| two(&member.payload)).unwrap();
    let path = format!(
        "/v2/members/{}?fields[member]=last_charge_date&fields[user]=image_url\
         &fields[campaign]=patron_count&include=user,campaign,currently_entitled_tiers",
        member.external_id
    );
    let (mut dates, mut orders, mut others) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..20 {
        let shown = client.patreon(&simulator, &path).await.json;
        dates.insert(shown["data"]["attributes"]["last_charge_date"].to_string());
        orders.insert(shown["data"].pointer(tiers).unwrap().to_string());
        for included in shown["included"].as_array().unwrap() {
            others.insert(included["attributes"].to_string());
        }
    }
    assert_eq!((dates.len(), orders.len()), (2, 2), "two spellings, either order");
    let urls: Vec<&String> = others.iter().filter(|text| text.contains("token-hash=")).collect();
    assert_eq!(urls.len(), 20, "each link is signed anew");
    let paths: BTreeSet<&str> = urls.iter().map(|url| url.split('?').next().unwrap()).collect();
    assert_eq!(paths.len(), 1, "but leads to the same picture");
    assert!(others.iter().filter(|text| text.contains("patron_count")).count() > 1);
}

#[tokio::test]
async fn a_missing_scope_leaves_attributes_out_without_a_word() {
    let (simulator, client) = quiet().await;
    let path = format!("/v2/members/{}?{MEMBER}&include=address", a_member(&simulator, true));
    let all = client.patreon(&simulator, &path).await.json;
    let missing = ["campaigns.members[email]", "campaigns.members.address"].map(str::to_owned);
    switch(&simulator, Switches { missing_scopes: missing.to_vec(), ..Switches::default() });
    let less = client.patreon(&simulator, &path).await;
    assert_eq!(less.status, 200);
    assert!(all["data"]["attributes"].get("email").is_some());
    assert_eq!(less.json["data"]["attributes"].get("email"), None);
    assert!(all["data"]["relationships"].get("address").is_some());
    assert_eq!(less.json["data"].get("relationships"), None);
}

#[tokio::test]
async fn both_limits_hold_and_the_body_says_how_long() {
    let (simulator, client) = quiet().await;
    for _ in 0..100 {
        assert_eq!(client.patreon(&simulator, "/v2/campaigns").await.status, 200);
    }
    let refused = client.patreon(&simulator, "/v2/campaigns").await;
    assert_eq!(refused.status, 429);
    let error = &refused.json["errors"][0];
    assert_eq!(
        (&error["code_name"], &error["status"]),
        (&json!("RequestThrottled"), &json!("429"))
    );
    let wait = error["retry_after_seconds"].as_u64().unwrap();
    assert!((50..=60).contains(&wait), "the minute of the token: {wait}");
    assert_eq!(refused.header("x-ratelimit-remaining"), None, "no header tells");
}

#[tokio::test]
async fn too_many_refusals_bring_a_block_that_speaks_html() {
    let (simulator, client) = with(|config| {
        let edge = config.patreon.account.edge.as_mut().unwrap();
        (edge.limit, edge.block_ms) = (5, 3_600_000);
    })
    .await;
    for _ in 0..5 {
        assert_eq!(client.patreon(&simulator, "/v2/members/none").await.status, 404);
    }
    let blocked = client.patreon(&simulator, "/v2/campaigns").await;
    assert_eq!((blocked.status.as_u16(), blocked.header("retry-after")), (429, Some("3600")));
    assert_eq!(blocked.json, Value::Null);
    assert!(blocked.header("content-type").unwrap().starts_with("text/html"));
    let stats = simulator.stats().patreon;
    assert_eq!((stats.blocked, stats.refusals), (1, 0));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_access_tokens_run_out() {
    let (simulator, client) = quiet().await;
    let refresh = |token: &str| {
        format!(
            "/token?grant_type=refresh_token&refresh_token={token}\
             &client_id=simulated-client&client_secret=simulated-client-secret"
        )
    };
    let first = refresh("simulated-refresh-token");
    let new = client.patreon_send(&simulator, Method::POST, &first, None).await.json;
    assert_eq!((&new["token_type"], &new["expires_in"]), (&json!("Bearer"), &json!(2_678_400)));
    let again = client.patreon_send(&simulator, Method::POST, &first, None).await;
    assert_eq!((again.status.as_u16(), &again.json["error"]), (400, &json!("invalid_grant")));
    assert_eq!(simulator.token_refreshes(), 1);

    simulator.expire_tokens();
    assert_eq!(client.patreon(&simulator, "/v2/campaigns").await.status, 401);
    let second = refresh(new["refresh_token"].as_str().unwrap());
    let newer = client.patreon_send(&simulator, Method::POST, &second, None).await.json;
    let bearer = format!("Bearer {}", newer["access_token"].as_str().unwrap());
    let url = format!("{}api/oauth2/v2/campaigns", simulator.patreon_url);
    let headers = [("user-agent", "Test"), ("authorization", bearer.as_str())];
    assert_eq!(client.send(Method::GET, &url, &headers, None).await.status, 200);
    let wrong = second.replace("client_secret=simulated", "client_secret=other");
    let refused: Client = client;
    assert_eq!(refused.patreon_send(&simulator, Method::POST, &wrong, None).await.status, 401);
}
