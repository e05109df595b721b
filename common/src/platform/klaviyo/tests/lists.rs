//! Lists: ten on a page, and never merged.

use super::*;

#[tokio::test]
async fn ten_lists_are_looked_at_with_one_request() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/api/lists" => answer(200, json!({ "data": [{ "id": "A" }, { "id": "B" }] }).to_string()),
        "/api/lists/C" => answer(200, json!({ "data": { "id": "A" } }).to_string()),
        _ => answer(404, "{}"),
    })
    .await;
    let looks = look_at(&fake, &Purse::of(9), "list", &["A", "B", "C", "D"]).await.unwrap();
    let other = "C unclear: answered with another record";
    assert_eq!(looks, ["A found", "A found", "B found", other, "D missing"]);
    let seen = &fake.seen()[0];
    assert_eq!(seen.query["filter"], r#"any(id,["A","B","C","D"])"#);
    assert_eq!(seen.query["page[size]"], "10");
    assert_eq!(kind("klaviyo", "list").batch, 10);
}

#[tokio::test]
async fn lists_are_scanned_by_updated_like_profiles() {
    let fake = Fake::start(|_| {
        let list: Value = serde_json::from_str(include_str!("../samples/list.json")).unwrap();
        answer(200, json!({ "data": [list["data"]], "links": { "next": null } }).to_string())
    })
    .await;
    let page = scan_of(&fake, "list", &since("2026-11-18T07:45:10Z")).await.unwrap();
    assert_eq!(page.records[0].external_id.as_str(), "Xy7QeZ");
    assert_eq!(page.latest, Some("2026-11-18T07:45:10Z".parse().unwrap()));
    let seen = &fake.seen()[0];
    assert_eq!((seen.path.as_str(), seen.query["page[size]"].as_str()), ("/api/lists", "10"));
    assert_eq!(seen.query["sort"], "updated");
    assert_eq!(seen.query["filter"], "greater-than(updated,2026-11-18T07:45:09Z)");
}
