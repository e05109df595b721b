//! What the canonical form promises.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::drift::{CanonicalError, Field, MAX_DEPTH, Shape, canonical, canonical_at};

/// Everything that a shape can say.
static SHAPE: Shape = Shape::Object(&[
    Field::whole("name"),
    Field::instant("created"),
    Field::object("place", &[Field::whole("city"), Field::whole("zip")]),
    Field::of("steps", Shape::List(&Shape::Instant)),
    Field::of("tags", Shape::Set { of: &Shape::Whole, by: None }),
    Field::of(
        "tickets",
        Shape::Set {
            of: &Shape::Object(&[Field::whole("id"), Field::whole("used")]),
            by: Some("id"),
        },
    ),
    Field::of("properties", Shape::Verbatim),
]);

fn form(raw: &str, shape: &Shape) -> String {
    canonical(raw, shape).unwrap().as_str().to_owned()
}

fn check(raw: &str, shape: &Shape, expected: &str) {
    assert_eq!(form(raw, shape), expected, "of {raw}");
    assert_eq!(form(expected, shape), expected, "once more");
}

#[test]
fn texts_literals_and_doubles_are_written_as_rfc_8785_says() {
    check(
        r#"{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#,
        &Shape::Verbatim,
        concat!(
            r#"{"literals":[null,true,false],"#,
            r#""numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        ),
    );
    check(
        r#""\u0000\b\t\n\f\r\u001F\u007f""#,
        &Shape::Verbatim,
        "\"\\u0000\\b\\t\\n\\f\\r\\u001f\u{7f}\"",
    );
}

#[test]
fn members_are_in_the_order_of_their_utf_16_units() {
    check(
        r#"{"\u20ac":5,"\r":1,"\ufb33":7,"1":2,"\ud83d\ude00":6,"\u0080":3,"\u00f6":4}"#,
        &Shape::Verbatim,
        "{\"\\r\":1,\"1\":2,\"\u{80}\":3,\"ö\":4,\"€\":5,\"😀\":6,\"\u{fb33}\":7}",
    );
}

/// By code unit and by nothing that a reader of some language expects; and what looks equal is not.
#[test]
fn order_and_texts_know_no_language() {
    check(
        r#"{"pêche":3,"peach":1,"péché":2,"sin":4,"Sin":0}"#,
        &Shape::Verbatim,
        r#"{"Sin":0,"peach":1,"péché":2,"pêche":3,"sin":4}"#,
    );
    check(
        r#"{"b":{"z":{"h":"x","H":5},"\n":56.0},"10":{},"":"empty","a":{},"111":[{"e":1,"E":2}],"1":0,"A":[]}"#,
        &Shape::Verbatim,
        r#"{"":"empty","1":0,"10":{},"111":[{"E":2,"e":1}],"A":[],"a":{},"b":{"\n":56,"z":{"H":5,"h":"x"}}}"#,
    );
    check("\"A\\u030a\"", &Shape::Verbatim, "\"A\u{30a}\"");
    assert_ne!(form("\"A\\u030a\"", &Shape::Verbatim), form("\"\\u00c5\"", &Shape::Verbatim));
    check("\"\\u2028\\u2029\\/</script>\"", &Shape::Verbatim, "\"\u{2028}\u{2029}/</script>\"");
    check(
        "[56, {\"d\": true, \"10\": null, \"1\": [ ]}]",
        &Shape::Verbatim,
        r#"[56,{"1":[],"10":null,"d":true}]"#,
    );
}

/// RFC 8785, appendix B.
#[test]
fn doubles_are_printed_as_ecmascript_prints_them() {
    let cases: [(u64, &str); 24] = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in cases {
        check(&format!("{:e}", f64::from_bits(bits)), &Shape::Verbatim, expected);
    }
}

#[test]
fn integers_stay_exact_where_doubles_would_round() {
    let cases = [
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740992"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-123456789012345678901234567891", "-123456789012345678901234567891"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("10E-1", "1"),
    ];
    for (raw, expected) in cases {
        check(raw, &Shape::Verbatim, expected);
    }
}

#[test]
fn only_the_listed_fields_count_and_null_is_as_good_as_absent() {
    check(
        r#"{"name":null,"views":7,"place":{"zip":null,"city":"Lisboa","ip":"203.0.113.7"}}"#,
        &SHAPE,
        r#"{"place":{"city":"Lisboa"}}"#,
    );
}

#[test]
fn what_held_until_a_time_that_is_past_is_as_good_as_absent() {
    static UNTIL: Shape = Shape::Object(&[Field::of("until", Shape::Until)]);
    let at = |now: &str, until: &str| {
        let raw = json!({ "until": until }).to_string();
        canonical_at(&raw, &UNTIL, now.parse().unwrap()).unwrap().as_str().to_owned()
    };
    let noon = "2026-11-20T12:00:00+00:00";
    assert_eq!(at("2026-11-20T12:00:00Z", noon), "{}");
    assert_eq!(at("2026-11-20T11:59:59Z", noon), r#"{"until":"2026-11-20T12:00:00Z"}"#);
    assert_eq!(at("2026-11-20T12:00:00Z", "soon"), r#"{"until":"soon"}"#);
    // Where it does not matter when, nothing is past.
    check(
        r#"{"until":"2001-01-01T00:00:00+00:00"}"#,
        &UNTIL,
        r#"{"until":"2001-01-01T00:00:00Z"}"#,
    );
}

#[test]
fn of_a_signed_url_only_the_path_counts() {
    let cases = [
        ("https://c10.example.com/4/u/1.png?token-time=1&token-hash=x%3D", "/4/u/1.png"),
        ("https://c11.example.com/4/u/1.png#x", "/4/u/1.png"),
        ("https://example.com", "/"),
        ("/rss/art.png?x=1", "/rss/art.png"),
        ("/a?next=https://example.com/b", "/a"),
        ("", ""),
    ];
    for (url, path) in cases {
        check(&json!(url).to_string(), &Shape::UrlPath, &json!(path).to_string());
    }
}

#[test]
fn a_mark_that_is_there_with_null_is_another_thing_than_one_that_is_absent() {
    static MARKS: Shape = Shape::Object(&[Field::of(
        "tags",
        Shape::Marks(&[Field::whole("booster"), Field::whole("bot")]),
    )]);
    check(r#"{"tags":{"booster":null,"x":1}}"#, &MARKS, r#"{"tags":{"booster":null}}"#);
    check(r#"{"tags":{"bot":"7"}}"#, &MARKS, r#"{"tags":{"bot":"7"}}"#);
    check(r#"{"tags":null}"#, &MARKS, "{}");
}

#[test]
fn numbers_written_as_text_are_sorted_as_numbers() {
    static RECORDS: Shape = Shape::NumberedSet {
        of: &Shape::Object(&[Field::whole("id"), Field::whole("a")]),
        by: Some("id"),
    };
    let ids = Shape::NumberedSet { of: &Shape::Whole, by: None };
    check(
        r#"["10","9","810000000000000001","810000000000000000","x",7,"08"]"#,
        &ids,
        r#"[7,"08","9","10","810000000000000000","810000000000000001","x"]"#,
    );
    check(
        r#"[{"id":"10","a":1},{"a":1},{"id":"9","a":2}]"#,
        &RECORDS,
        r#"[{"a":1},{"a":2,"id":"9"},{"a":1,"id":"10"}]"#,
    );
}

#[test]
fn what_customers_make_up_is_kept_to_the_letter() {
    check(
        r#"{"properties":{"b":[3,1,null],"a":null,"when":"2023-11-20 18:12:21+00:00"}}"#,
        &SHAPE,
        r#"{"properties":{"a":null,"b":[3,1,null],"when":"2023-11-20 18:12:21+00:00"}}"#,
    );
}

#[test]
fn an_instant_has_one_form_and_a_local_time_is_none() {
    let cases = [
        ("2023-11-20 18:12:21+00:00", "2023-11-20T18:12:21Z"),
        ("2023-11-20T18:12:21Z", "2023-11-20T18:12:21Z"),
        ("2023-11-20T19:42:21.000+01:30", "2023-11-20T18:12:21Z"),
        ("2023-11-20T18:12:21.120000+00:00", "2023-11-20T18:12:21.12Z"),
        ("2027-05-08T10:00:00", "2027-05-08T10:00:00"),
        ("soon", "soon"),
    ];
    for (text, expected) in cases {
        check(&format!("\"{text}\""), &Shape::Instant, &format!("\"{expected}\""));
    }
    check("1700503941", &Shape::Instant, "1700503941");
}

#[test]
fn the_order_of_a_list_counts_and_of_a_set_does_not() {
    assert_ne!(form(r#"{"steps":["a","b"]}"#, &SHAPE), form(r#"{"steps":["b","a"]}"#, &SHAPE));
    check(r#"{"tags":["b",2,"a"]}"#, &SHAPE, r#"{"tags":["a","b",2]}"#);
    check(
        r#"{"tickets":[{"used":true,"id":"2","note":1},{"used":false,"id":"1"}]}"#,
        &SHAPE,
        r#"{"tickets":[{"id":"1","used":false},{"id":"2","used":true}]}"#,
    );
}

#[test]
fn a_value_of_an_unexpected_kind_counts_as_it_is() {
    check(
        r#"{"place":"Lisboa","tags":{"a":1},"tickets":["x",[1]],"created":{"at":1}}"#,
        &SHAPE,
        r#"{"created":{"at":1},"place":"Lisboa","tags":{"a":1},"tickets":["x",[1]]}"#,
    );
}

#[test]
fn of_members_with_the_same_name_the_last_one_counts() {
    check(r#"{"a":1,"b":0,"a":2,"a":3}"#, &Shape::Verbatim, r#"{"a":3,"b":0}"#);
}

#[test]
fn what_has_no_canonical_form_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical(&nested(MAX_DEPTH), &Shape::Verbatim).is_ok());
    let refused = |raw: &str| canonical(raw, &Shape::Verbatim).unwrap_err();
    assert!(matches!(refused(&nested(MAX_DEPTH + 1)), CanonicalError::TooDeep));
    assert!(matches!(refused(&nested(200_000)), CanonicalError::TooDeep));
    assert!(matches!(refused("1e400"), CanonicalError::NumberTooLarge));
    assert!(matches!(refused(&" ".repeat(9 << 20)), CanonicalError::TooLong));
    for bad in [
        "",
        "{",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        ".5",
        "1.",
        "0x1",
        "01",
        "[1,]",
        "nul",
        r#""\ud800""#,
        r#"{"a":"\udc00"}"#,
        "1 2",
    ] {
        assert!(matches!(refused(bad), CanonicalError::Json { .. }), "{bad:?}");
    }
    // What does not count may be as deep as it likes.
    check(&format!(r#"{{"x":{}}}"#, nested(5000)), &SHAPE, "{}");
}

/// Any JSON value, of the size of a small record.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A record with every field of [`SHAPE`], and ones that do not count.
fn records() -> impl Strategy<Value = Value> {
    let tickets = prop::collection::vec((0..9_u8, any::<bool>()), 0..6).prop_map(|tickets| {
        tickets.into_iter().map(|(id, used)| json!({ "id": id, "used": used })).collect::<Value>()
    });
    (any::<String>(), values(), values(), prop::collection::vec(any::<u8>(), 0..6), tickets)
        .prop_map(|(name, free, views, tags, tickets)| {
            json!({
                "name": name, "created": "2026-11-20 21:14:05+00:00", "views": views,
                "place": { "city": name, "ip": views }, "steps": ["a", "b"],
                "tags": tags, "tickets": tickets, "properties": free,
            })
        })
}

/// Prints a value with white space and order of members as `chance` has it, a seed that is used up.
fn scrambled(value: &Value, chance: &mut u64, out: &mut String) {
    *chance =
        chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let space = [" ", "", "\n\t", "\r\n  "][(*chance >> 60) as usize % 4];
    let wild = *chance >> 33;
    out.push_str(space);
    match value {
        Value::Array(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                scrambled(element, chance, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| {
                name.bytes()
                    .fold(wild, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
            });
            out.push('{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(space);
                out.push(':');
                scrambled(member, chance, out);
            }
            out.push('}');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
    out.push_str(space);
}

proptest! {
    #[test]
    fn white_space_and_order_of_members_do_not_count(value in values(), mut chance: u64) {
        let mut text = String::new();
        scrambled(&value, &mut chance, &mut text);
        for shape in [&Shape::Verbatim, &Shape::Whole, &SHAPE] {
            prop_assert_eq!(form(&text, shape), form(&value.to_string(), shape));
        }
    }

    #[test]
    fn the_form_of_a_form_is_itself(value in prop_oneof![values(), records()]) {
        for shape in [&Shape::Verbatim, &Shape::Whole, &SHAPE] {
            let once = form(&value.to_string(), shape);
            prop_assert_eq!(form(&once, shape), once);
        }
    }

    #[test]
    fn only_what_counts_changes_the_form(record in records(), other in values()) {
        let form_of = |record: &Value| form(&record.to_string(), &SHAPE);
        let mut volatile = record.clone();
        volatile["views"] = other.clone();
        volatile["place"]["ip"] = other;
        for set in ["tags", "tickets"] {
            volatile[set].as_array_mut().unwrap().reverse();
        }
        prop_assert_eq!(form_of(&volatile), form_of(&record));

        for (field, value) in [("name", json!(1)), ("steps", json!(["b", "a"])), ("place", json!({}))] {
            let mut real = record.clone();
            real[field] = value;
            prop_assert_ne!(form_of(&real), form_of(&record));
        }
    }

    /// What is written is the shortest text that is read back as the same double.
    #[test]
    fn no_double_is_lost(bits: u64) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        let once = form(&format!("{double:e}"), &Shape::Verbatim);
        let read: f64 = once.parse().unwrap();
        prop_assert_eq!((read + 0.0).to_bits(), (double + 0.0).to_bits());
        prop_assert!(once.len() <= 25);
    }

    #[test]
    fn large_integers_that_differ_in_one_digit_have_different_forms(head in "[1-9][0-9]{17,40}", digit in 0..9_u8) {
        let (one, other) = (format!("{head}{digit}"), format!("{head}{}", digit + 1));
        prop_assert_ne!(form(&one, &Shape::Verbatim), form(&other, &Shape::Verbatim));
    }

    #[test]
    fn no_text_makes_it_panic(text: String, jsonish in r#"[\[\]{}",:0-9eE.\\u\-tn ]{0,40}"#) {
        for text in [text, jsonish] {
            for shape in [&Shape::Verbatim, &SHAPE] {
                if let Ok(form) = canonical(&text, shape) {
                    prop_assert!(serde_json::from_str::<Value>(form.as_str()).is_ok());
                }
            }
        }
    }
}
