//! Klaviyo's filter language for profiles: `any(id,["a","b"]),greater-than(updated,2026-01-01T00:00:00Z)`.

use jiff::Timestamp;

use crate::record::{RecordId, Version};

/// One condition; all of a filter's must hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Clause {
    /// The field is one of these.
    Any(Field, Vec<String>),
    /// The instant is later than this one, never equal.
    After(Moment, Timestamp),
    /// The instant is earlier than this one, never equal.
    Before(Moment, Timestamp),
}

/// A field with a text in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    Attribute(&'static str),
}

/// A field with an instant in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Created,
    Updated,
}

/// Reads a filter; the error is the sentence for the answer's `detail`.
pub(crate) fn parse(text: &str) -> Result<Vec<Clause>, String> {
    let mut rest = text;
    let clauses = conjunction(&mut rest)?;
    if rest.is_empty() { Ok(clauses) } else { Err(format!("Invalid filter at '{rest}'.")) }
}

/// Whether a profile meets all conditions.
pub(crate) fn matches(clauses: &[Clause], id: &RecordId, version: &Version) -> bool {
    let instant = |moment: &Moment| match moment {
        Moment::Updated => version.changed,
        Moment::Created => version.text("created").parse().unwrap_or(Timestamp::UNIX_EPOCH),
    };
    clauses.iter().all(|clause| match clause {
        Clause::Any(Field::Id, ids) => ids.contains(&id.external_id),
        Clause::Any(Field::Attribute(name), values) => {
            values.iter().any(|one| *one == version.text(name))
        }
        Clause::After(moment, at) => instant(moment) > *at,
        Clause::Before(moment, at) => instant(moment) < *at,
    })
}

fn conjunction(rest: &mut &str) -> Result<Vec<Clause>, String> {
    let mut clauses = condition(rest)?;
    while eat(rest, ",") {
        clauses.extend(condition(rest)?);
    }
    Ok(clauses)
}

fn condition(rest: &mut &str) -> Result<Vec<Clause>, String> {
    let operator = until(rest, &['('])?;
    expect(rest, "(")?;
    if operator == "and" {
        let clauses = conjunction(rest)?;
        expect(rest, ")")?;
        return Ok(clauses);
    }
    let field = until(rest, &[','])?;
    expect(rest, ",")?;
    let values = operand(rest)?;
    expect(rest, ")")?;
    clause(&operator, &field, values).map(|clause| vec![clause])
}

enum Operand {
    /// A list in brackets.
    Many(Vec<String>),
    /// A text in quotes.
    Quoted(String),
    /// Anything else, such as an instant.
    Bare(String),
}

fn clause(operator: &str, name: &str, operand: Operand) -> Result<Clause, String> {
    let moment = match name {
        "created" => Some(Moment::Created),
        "updated" => Some(Moment::Updated),
        _ => None,
    };
    let field = match name {
        "id" => Some(Field::Id),
        "email" => Some(Field::Attribute("email")),
        "phone_number" => Some(Field::Attribute("phone_number")),
        "external_id" => Some(Field::Attribute("external_id")),
        _ => None,
    };
    match (operator, field, moment, operand) {
        ("any", Some(field), _, Operand::Many(values)) => Ok(Clause::Any(field, values)),
        ("equals", Some(field), _, Operand::Quoted(value)) => Ok(Clause::Any(field, vec![value])),
        ("greater-than", _, Some(moment), Operand::Bare(at)) => {
            Ok(Clause::After(moment, instant(&at)?))
        }
        ("less-than", _, Some(moment), Operand::Bare(at)) => {
            Ok(Clause::Before(moment, instant(&at)?))
        }
        ("any" | "equals", Some(_), ..) | ("greater-than" | "less-than", _, Some(_), _) => {
            Err(format!("Invalid value for '{operator}' on '{name}'."))
        }
        (_, None, None, _) => {
            Err(format!("'{name}' is not an allowed filter field for this resource."))
        }
        _ => Err(format!("'{operator}' is not an allowed filter operator for '{name}'.")),
    }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("'{text}' is not a valid datetime."))
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

    #[test]
    fn reads_what_the_document_allows() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let ids = Clause::Any(Field::Id, vec!["A".into(), "B".into()]);
        let after = Clause::After(Moment::Updated, at);
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
