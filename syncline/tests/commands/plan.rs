//! `plan`, with records from a file and from standard input.

use serde_json::Value;

use crate::run::syncline;

const RECORDS: &str = r#"[{"rate_per_day": 3.2, "weight": 1, "recall": 0.9, "false_notices_per_day": 0},
    {"count": 5000, "rate_per_day": 0.5}, {"rate_per_day": 40, "weight": 10}]"#;

fn plan(arguments: &[&str]) -> Value {
    let all = [&["plan", "--records", "-", "--json"], arguments].concat();
    syncline(&all, &[], RECORDS.as_bytes()).json()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_budget_is_spent_where_it_makes_the_mirror_freshest() {
    let answer = plan(&["--budget", "100/hour"]);
    let looks: Vec<f64> = answer["looks_per_day"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(looks.len(), 3);
    let spent = looks[0] + 5000.0 * looks[1] + looks[2];
    assert!((spent - 2400.0).abs() < 1.0, "{spent}");
    assert!(number(&answer["fresh_share"]) > number(&answer["uniform_fresh_share"]), "{answer}");
    assert!(number(&answer["lambda"]) > 0.0);
}

#[test]
fn a_target_says_how_many_looks_it_takes() {
    let needed = number(&plan(&["--target", "0.9"])["budget_per_day"]);
    let answer = plan(&["--budget", &format!("{needed}/day")]);
    assert!((number(&answer["fresh_share"]) - 0.9).abs() < 1e-4, "{answer}");
}

#[test]
fn a_person_reads_a_table_and_what_is_wrong_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.json");
    let name = file.to_str().unwrap();
    let run = |text: &str| {
        std::fs::write(&file, text).unwrap();
        syncline(&["plan", "--records", name, "--budget", "1000/hour"], &[], b"")
    };
    let answer = run(RECORDS);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    assert!(answer.out.contains("uniform"), "{answer:?}");
    let refused = run(r#"[{"rate_per_day": 1}, {"rate_per_day": 1, "recall": 2}]"#);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("entry 2 of 2: recall is 2"), "{refused:?}");
}

#[test]
fn where_there_is_nothing_to_look_for_the_price_is_nothing() {
    // A recall of 1, and records that never change.
    let records = r#"[{"rate_per_day": 3, "recall": 1}, {"rate_per_day": 0, "count": 7}]"#;
    for question in [["--budget", "1000/hour"], ["--target", "0.9"]] {
        let all = [&["plan", "--records", "-", "--json"][..], &question].concat();
        let answer = syncline(&all, &[], records.as_bytes()).json();
        assert_eq!(answer["lambda"], 0.0, "{answer}");
        assert_eq!((&answer["fresh_share"], &answer["records"]), (&1.0.into(), &8.into()));
        assert_eq!(answer["looks_per_day"], serde_json::json!([0.0, 0.0]));
    }
}

#[test]
fn a_question_that_makes_no_sense_is_refused_with_a_reason() {
    let ask = |more: &[&str], records: &str| {
        let all = [&["plan", "--records", "-"][..], more].concat();
        syncline(&all, &[], records.as_bytes())
    };
    let one = r#"[{"rate_per_day": 3}]"#;
    let budget = ["--budget", "1/day"];
    for (more, records, code, told) in [
        (&budget[..], "[]", 1, "standard input: the array is empty"),
        (&budget, r#"[{"rate_per_day": 3, "weight": 0}]"#, 1, "every weight is 0"),
        (&budget, r#"[{"rate_per_day": 3, "count": 1e30}]"#, 1, "expected a whole number"),
        (&[], one, 2, "--budget <LOOKS/TIME>|--target <SHARE>"),
        (&["--budget", "1/day", "--target", "0.9"], one, 2, "cannot be used with"),
        (&["--target", "1"], one, 2, "above 0 and below 1"),
        (&["--budget", "1"], one, 2, "is no rate"),
    ] {
        let answer = ask(more, records);
        assert_eq!(answer.code, code, "{records}: {answer:?}");
        assert!(answer.err.contains(told), "{records}: {answer:?}");
        assert_eq!(answer.out, "");
    }
    let missing = syncline(&["plan", "--records", "/nowhere", "--budget", "1/day"], &[], b"");
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("/nowhere cannot be opened"), "{missing:?}");
}
