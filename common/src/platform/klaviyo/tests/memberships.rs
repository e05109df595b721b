//! Who is on which list.

use axum::response::Response;

use super::*;

fn member(profile: &str) -> Value {
    let joined = json!({ "joined_group_at": "2026-10-01T12:00:00+00:00" });
    json!({ "type": "profile", "id": profile, "attributes": joined })
}

fn data(records: &[Value]) -> Response {
    answer(200, json!({ "data": records }).to_string())
}

/// On list L are `a`, `b` and `c`, of whom `c` has a telephone only; on no list is `left`; `nowhere`
/// cannot be found by any address; `merged` is answered with `a`; the filter forgets `b` unless it
/// is asked for alone.
fn one_list(seen: &Seen) -> Response {
    let with = |id: &str, field: &str, value: &str| json!({ "type": "profile", "id": id, "attributes": { field: value } });
    match (seen.path.as_str(), seen.query.get("filter").map(String::as_str)) {
        ("/api/profiles", _) => data(&[
            profile("a"),
            profile("b"),
            with("c", "phone_number", "+351210000000"),
            profile("left"),
            with("quoted", "email", "x\"]),any(id,[\"y"),
        ]),
        ("/api/profiles/nowhere", _) => {
            answer(200, json!({ "data": with("nowhere", "external_id", "7") }).to_string())
        }
        ("/api/profiles/merged", _) => answer(200, json!({ "data": profile("a") }).to_string()),
        ("/api/lists/L/profiles", Some(filter)) => {
            let alone = !filter.contains(',') || filter.matches('@').count() == 1;
            let on_it = |id: &str, what: &str| filter.contains(what).then(|| member(id));
            let found = [
                on_it("a", "\"a@example.org\""),
                on_it("b", "\"b@example.org\"").filter(|_| alone),
                on_it("c", "+351210000000"),
            ];
            data(&found.into_iter().flatten().collect::<Vec<_>>())
        }
        _ => answer(404, "{}"),
    }
}

#[tokio::test]
async fn members_of_a_list_are_looked_at_by_their_addresses() {
    let fake = Fake::start(one_list).await;
    let purse = Purse::of(9);
    let ids = ["L/a", "L/c", "M/a", "L", "L/x y"];
    let looks = look_at(&fake, &purse, "list-membership", &ids).await.unwrap();
    let strange = "unclear: no id to ask for here";
    let [l, xy, ma] = ["L", "L/x y", "M/a"].map(|id| format!("{id} {strange}"));
    assert_eq!(looks, [l, "L/a found".to_owned(), "L/c found".to_owned(), xy, ma]);

    let seen = fake.seen();
    assert_eq!(fake.paths(), ["/api/profiles", "/api/lists/L/profiles", "/api/lists/L/profiles"]);
    assert_eq!(seen[0].query["filter"], r#"any(id,["a","c"])"#);
    assert!(seen[1].query["filter"].starts_with(r#"any(email,["a@example.org""#));
    assert_eq!(seen[1].query["fields[profile]"], "joined_group_at");
    assert_eq!(seen[2].query["filter"], r#"any(phone_number,["+351210000000"])"#);
}

#[tokio::test]
async fn who_is_not_on_the_list_is_asked_for_alone_before_he_is_missing() {
    let fake = Fake::start(one_list).await;
    let ids = ["L/a", "L/b", "L/left"];
    let looks = look_at(&fake, &Purse::of(9), "list-membership", &ids).await.unwrap();
    assert_eq!(looks, ["L/a found", "L/b found", "L/left missing"]);
    let seen = fake.seen();
    assert_eq!(seen[2].query["filter"], r#"any(email,["b@example.org"])"#);
    assert_eq!(seen[3].query["filter"], r#"any(email,["left@example.org"])"#);
    assert_eq!(seen.len(), 4);

    let looks = look_at(&fake, &Purse::of(2), "list-membership", &ids).await.unwrap();
    assert_eq!(looks, ["L/a found", "L/b postponed", "L/left postponed"]);
}

#[tokio::test]
async fn a_profile_that_is_gone_or_merged_is_on_no_list_and_one_without_address_is_unclear() {
    let fake = Fake::start(one_list).await;
    let ids = ["L/gone", "L/merged", "L/nowhere"];
    let looks = look_at(&fake, &Purse::of(9), "list-membership", &ids).await.unwrap();
    assert_eq!(looks[..2], ["L/gone missing", "L/merged missing"]);
    assert!(looks[2].starts_with("L/nowhere unclear: a profile without"), "{looks:?}");
}

#[tokio::test]
async fn an_address_that_could_leave_the_filter_is_never_sent() {
    let fake = Fake::start(one_list).await;
    look_at(&fake, &Purse::of(9), "list-membership", &["L/quoted"]).await.unwrap();
    assert!(fake.seen().iter().all(|seen| seen.path != "/api/lists/L/profiles"));
}

#[tokio::test]
async fn members_of_a_list_that_is_gone_are_missing() {
    let fake = Fake::start(one_list).await;
    let looks =
        look_at(&fake, &Purse::of(9), "list-membership", &["gone/a", "gone/b"]).await.unwrap();
    assert_eq!(looks, ["gone/a missing", "gone/b missing"]);
    assert_eq!(fake.seen().len(), 2);
}

/// Lists L1 (two pages), gone (deleted since) and, on the second page of lists, L2.
fn three_lists(seen: &Seen) -> Response {
    let cursor = seen.query.get("page[cursor]").map(String::as_str);
    let listing = |records: &[Value], next: Option<&str>| {
        let next = next.map(|cursor| format!("https://a.klaviyo.com/x?page%5Bcursor%5D={cursor}"));
        answer(200, json!({ "data": records, "links": { "next": next } }).to_string())
    };
    match (seen.path.as_str(), cursor) {
        ("/api/lists", None) => {
            listing(&[json!({ "id": "L1" }), json!({ "id": "gone" })], Some("lists-2"))
        }
        ("/api/lists", Some("lists-2")) => listing(&[json!({ "id": "L2" })], None),
        ("/api/lists/L1/profiles", None) => listing(&[member("a")], Some("l1-2")),
        ("/api/lists/L1/profiles", Some("l1-2")) => listing(&[member("b")], None),
        ("/api/lists/L2/profiles", None) => listing(&[member("a")], None),
        _ => answer(404, "{}"),
    }
}

#[tokio::test]
async fn a_scan_reads_every_list_to_its_end_one_request_a_page() {
    let fake = Fake::start(three_lists).await;
    for changed in [None, Some("2026-10-01T12:00:00Z")] {
        let mut from =
            ScanFrom { cursor: None, changed_since: changed.map(|at| at.parse().unwrap()) };
        let (mut ids, mut pages) = (Vec::new(), 0);
        loop {
            let page = scan_of(&fake, "list-membership", &from).await.unwrap();
            pages += 1;
            ids.extend(page.records.into_iter().map(|record| record.external_id.to_string()));
            from.cursor = page.next;
            if from.cursor.is_none() {
                break;
            }
        }
        assert_eq!((ids.join(" ").as_str(), pages), ("L1/a L1/b L2/a", 6));
    }
    let seen = fake.seen();
    assert_eq!(seen.len(), 12, "one request a page");
    for seen in seen.iter().filter(|seen| seen.path.ends_with("/profiles")) {
        assert_eq!(seen.query["sort"], "joined_group_at");
        assert_eq!(seen.query["fields[profile]"], "joined_group_at");
        assert_eq!(seen.query["page[size]"], "100");
    }
    let filter = &seen.last().unwrap().query["filter"];
    assert_eq!(filter, "greater-than(joined_group_at,2026-10-01T11:59:59Z)");
    assert!(!seen[1].query.contains_key("filter"));
}

#[tokio::test]
async fn the_membership_of_the_sample_is_known_by_when_it_began() {
    let fake = Fake::start(|_| answer(200, include_str!("../samples/list-membership.json"))).await;
    let cursor = Some(r#"{"lists":["Xy7QeZ"],"more":null,"members":null}"#.to_owned());
    let from = ScanFrom { cursor, changed_since: None };
    let page = scan_of(&fake, "list-membership", &from).await.unwrap();
    assert_eq!(page.records[0].external_id.as_str(), format!("Xy7QeZ/{SAMPLE}"));
    assert_eq!(page.records[0].version, Some("2026-10-01T12:00:00Z".parse().unwrap()));
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_cursor_of_another_release_is_lost() {
    let fake = Fake::start(three_lists).await;
    for cursor in ["", "lists-2", "{}", r#"{"lists":7}"#] {
        let from = ScanFrom { cursor: Some(cursor.to_owned()), changed_since: None };
        let scanned = scan_of(&fake, "list-membership", &from).await;
        assert!(matches!(scanned, Err(PlatformError::CursorLost)), "{cursor}");
    }
    assert!(fake.seen().is_empty());
}
