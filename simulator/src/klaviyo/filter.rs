//! Klaviyo's filter language: `any(id,["a","b"]),greater-than(updated,2026-01-01T00:00:00Z)`.

use jiff::Timestamp;

use super::invalid;
use crate::answer::{Answer, Call};

/// What a resource can be filtered by.
pub(super) struct Rules {
    /// Fields that take a list of texts.
    pub(super) any: &'static [&'static str],
    /// Fields that take one text.
    pub(super) equals: &'static [&'static str],
    /// Fields that are instants.
    pub(super) instants: &'static [&'static str],
    /// How instants can be compared.
    pub(super) operators: &'static [&'static str],
}

/// One condition; all of a filter's must hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Clause {
    /// The field is one of these.
    Any(String, Vec<String>),
    /// The instant stands so to this one.
    Compare(String, Operator, Timestamp),
}

/// How two instants are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    After,
    AfterOrAt,
    Before,
    BeforeOrAt,
}

/// The filter of a request; none is one that everything meets.
pub(super) fn of(call: &Call, rules: &Rules) -> Result<Vec<Clause>, Answer> {
    let Some(text) = call.parameter("filter") else { return Ok(Vec::new()) };
    parse(text, rules).map_err(|detail| invalid("filter", &detail))
}

/// Reads a filter; the error is the sentence for the answer's `detail`.
fn parse(text: &str, rules: &Rules) -> Result<Vec<Clause>, String> {
    let mut rest = text;
    let clauses = conjunction(&mut rest, rules)?;
    if rest.is_empty() { Ok(clauses) } else { Err(format!("Invalid filter at '{rest}'.")) }
}

/// Whether a record, whose fields `value` tells, meets all conditions.
pub(super) fn matches(clauses: &[Clause], value: impl Fn(&str) -> String) -> bool {
    clauses.iter().all(|clause| match clause {
        Clause::Any(name, values) => values.contains(&value(name)),
        Clause::Compare(name, operator, at) => {
            let instant: Timestamp = value(name).parse().unwrap_or(Timestamp::UNIX_EPOCH);
            match operator {
                Operator::After => instant > *at,
                Operator::AfterOrAt => instant >= *at,
                Operator::Before => instant < *at,
                Operator::BeforeOrAt => instant <= *at,
            }
        }
    })
}

/// The ids that a filter names.
pub(super) fn named_ids(clauses: &[Clause]) -> Vec<&str> {
    let ids = clauses.iter().filter_map(|clause| match clause {
        Clause::Any(name, ids) if name == "id" => Some(ids),
        _ => None,
    });
    ids.flatten().map(String::as_str).collect()
}

fn conjunction(rest: &mut &str, rules: &Rules) -> Result<Vec<Clause>, String> {
    let mut clauses = condition(rest, rules)?;
    while eat(rest, ",") {
        clauses.extend(condition(rest, rules)?);
    }
    Ok(clauses)
}

fn condition(rest: &mut &str, rules: &Rules) -> Result<Vec<Clause>, String> {
    let operator = until(rest, &['('])?;
    expect(rest, "(")?;
    if operator == "and" {
        let clauses = conjunction(rest, rules)?;
        expect(rest, ")")?;
        return Ok(clauses);
    }
    let field = until(rest, &[','])?;
    expect(rest, ",")?;
    let values = operand(rest)?;
    expect(rest, ")")?;
    clause(&operator, &field, values, rules).map(|clause| vec![clause])
}

enum Operand {
    /// A list in brackets.
    Many(Vec<String>),
    /// A text in quotes.
    Quoted(String),
    /// Anything else, such as an instant.
    Bare(String),
}

fn clause(operator: &str, name: &str, operand: Operand, rules: &Rules) -> Result<Clause, String> {
    let (texts, many) = match operator {
        "any" => (rules.any, true),
        _ => (rules.equals, false),
    };
    let compare = match operator {
        "greater-than" => Some(Operator::After),
        "greater-or-equal" => Some(Operator::AfterOrAt),
        "less-than" => Some(Operator::Before),
        "less-or-equal" => Some(Operator::BeforeOrAt),
        _ => None,
    };
    let known = [rules.any, rules.equals, rules.instants].iter().any(|all| all.contains(&name));
    if !known {
        return Err(format!("'{name}' is not an allowed filter field for this resource."));
    }
    let comparable = rules.instants.contains(&name) && rules.operators.contains(&operator);
    match (compare.filter(|_| comparable), operand) {
        (Some(compare), Operand::Bare(at)) => {
            Ok(Clause::Compare(name.to_owned(), compare, instant(&at)?))
        }
        (None, operand) if ["any", "equals"].contains(&operator) && texts.contains(&name) => {
            match operand {
                Operand::Many(values) if many => Ok(Clause::Any(name.to_owned(), values)),
                Operand::Quoted(value) if !many => Ok(Clause::Any(name.to_owned(), vec![value])),
                _ => Err(format!("Invalid value for '{operator}' on '{name}'.")),
            }
        }
        (Some(_), _) => Err(format!("Invalid value for '{operator}' on '{name}'.")),
        _ => Err(format!("'{operator}' is not an allowed filter operator for '{name}'.")),
    }
}

/// An instant in RFC 3339, or in seconds as events have them.
fn instant(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("'{text}' is not a valid datetime."))
}

fn operand(rest: &mut &str) -> Result<Operand, String> {
    if rest.starts_with('"') {
        return quoted(rest).map(Operand::Quoted);
    }
    if !eat(rest, "[") {
        return until(rest, &[')', ',']).map(Operand::Bare);
    }
    let mut values = Vec::new();
    if eat(rest, "]") {
        return Err("A list must not be empty.".to_owned());
    }
    loop {
        values.push(quoted(rest)?);
        if eat(rest, "]") {
            return Ok(Operand::Many(values));
        }
        expect(rest, ",")?;
        while eat(rest, " ") {}
    }
}

fn quoted(rest: &mut &str) -> Result<String, String> {
    expect(rest, "\"")?;
    let value = until(rest, &['"'])?;
    expect(rest, "\"")?;
    Ok(value)
}

fn until(rest: &mut &str, ends: &[char]) -> Result<String, String> {
    let (before, after) = rest
        .find(ends)
        .and_then(|at| rest.split_at_checked(at))
        .ok_or_else(|| format!("Invalid filter at '{rest}'."))?;
    *rest = after;
    Ok(before.to_owned())
}

fn eat(rest: &mut &str, token: &str) -> bool {
    rest.strip_prefix(token).is_some_and(|after| {
        *rest = after;
        true
    })
}

fn expect(rest: &mut &str, token: &str) -> Result<(), String> {
    if eat(rest, token) { Ok(()) } else { Err(format!("Expected '{token}' at '{rest}'.")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        any: &["id", "email"],
        equals: &["id", "email"],
        instants: &["created", "updated"],
        operators: &["greater-than", "less-than"],
    };

    fn parse(text: &str) -> Result<Vec<Clause>, String> {
        super::parse(text, &RULES)
    }

    #[test]
    fn reads_what_the_document_allows() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let ids = Clause::Any("id".into(), vec!["A".into(), "B".into()]);
        let after = Clause::Compare("updated".into(), Operator::After, at);
        let both = vec![ids.clone(), after.clone()];
        assert_eq!(parse(r#"any(id,["A","B"])"#), Ok(vec![ids]));
        assert_eq!(
            parse(r#"any(id,["A", "B"]),greater-than(updated,2026-01-01T00:00:00Z)"#),
            Ok(both.clone())
        );
        assert_eq!(
            parse(r#"and(any(id,["A","B"]),greater-than(updated,2026-01-01T00:00:00+00:00))"#),
            Ok(both)
        );
    }

    #[test]
    fn refuses_what_it_does_not_allow() {
        for text in [
            "greater-or-equal(updated,2026-01-01T00:00:00Z)",
            "greater-than(updatedd,2026-01-01T00:00:00Z)",
            "greater-than(updated,yesterday)",
            r#"equals(updated,"2026-01-01T00:00:00Z")"#,
            "any(id,[])",
            r#"any(id,["A")"#,
            r#"any(first_name,["A"])"#,
            r#"or(equals(id,"A"),equals(id,"B"))"#,
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
