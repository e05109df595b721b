//! Defaults under a file under the environment, and where each value came from.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use config::{
    ConfigError as Cause, Environment, FileFormat, Format, Map, Source, Value, ValueKind,
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

use super::error::{ConfigError, Problem, Problems};
use super::tree::{get, get_mut, put, set_back, take};
use super::{DEFAULTS, FILE_VARIABLE, secret};
use crate::ids::Lane;

const PREFIX: &str = "SYNCLINE__";

/// Taken where nothing sets the key.
const FALLBACKS: [(&str, &str); 2] = [("REDIS_URL", "redis.url"), ("DATABASE_URL", "postgres.url")];

/// Keys that may hold a secret, and may be read from a file of their own, named by `<key>_file`.
const SECRETS: [&str; 4] = ["redis.url", "postgres.url", "postgres.direct_url", "console.token"];

/// What the names of secrets in a connection's table end with; the table names their sources.
const SECRET_NAMES: [&str; 7] = [
    "token",
    "webhook_secret",
    "notice_secret",
    "endpoint_id",
    "client_secret",
    "refresh_token",
    "key",
];

/// More problems than this are not told.
const MOST_PROBLEMS: usize = 100;

/// The variables of this process that concern its settings.
///
/// # Errors
///
/// When one of them is not UTF-8; its value is not told.
pub(super) fn environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let ours = |name: &str| {
        name.starts_with(PREFIX)
            || name == FILE_VARIABLE
            || FALLBACKS.iter().any(|(variable, _)| *variable == name)
    };
    let mut found = BTreeMap::new();
    let mut problems = Problems::default();
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| ours(name)) else { continue };
        match value.into_string() {
            Ok(value) => {
                found.insert(name.to_owned(), value);
            }
            Err(_) => problems.add(name, "is not UTF-8: set it anew"),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(ConfigError::Invalid(problems)) }
}

/// All layers in one tree.
pub(super) struct Layered {
    tree: Value,
    defaults: Value,
}

impl Layered {
    /// # Errors
    ///
    /// When the file is not TOML. Problems with single settings are noted in `problems`.
    pub(super) fn new(
        file: Option<(&str, &str)>,
        environment: &BTreeMap<String, String>,
        problems: &mut Problems,
    ) -> Result<Self, ConfigError> {
        let mut tree = Value::new(None, Map::<String, Value>::new());
        lay("config/default.toml", None, DEFAULTS, &mut tree)?;
        let defaults = tree.clone();
        for (variable, key) in FALLBACKS {
            if let Some(url) = environment.get(variable).filter(|url| !url.is_empty()) {
                put(&mut tree, key, Value::new(Some(&variable.to_owned()), url.clone()));
            }
        }
        if let Some((name, text)) = file {
            lay(name, Some(&name.to_owned()), text, &mut tree)?;
        }
        let variables = Environment::with_prefix("SYNCLINE")
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(environment.clone().into_iter().collect()));
        if let Err(cause) = variables.collect_to(&mut tree) {
            problems.add("environment", cause.to_string());
        }
        let mut layered = Self { tree, defaults };
        layered.read_secret_files(problems);
        layered.refuse_secrets_in(file.map(|(name, _)| name), problems);
        layered.refuse_bad_lanes(problems);
        refuse_near_misses("", &mut layered.tree, &layered.defaults, problems);
        Ok(layered)
    }

    /// Reads the tree into a type. What cannot be read is noted and set back to its default, so
    /// that one pass finds every problem.
    pub(super) fn read<T: DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        let mut tree = self.tree.clone();
        for _ in 0..MOST_PROBLEMS {
            let cause = match tree.clone().try_deserialize() {
                Ok(read) => return Some(read),
                Err(cause) => cause,
            };
            let (key, what) = describe(cause);
            let set_back = set_back(&mut tree, &self.defaults, &key);
            problems.add(key, what);
            if !set_back {
                return None;
            }
        }
        None
    }

    /// Adds to each problem what was found and where, and sorts them by key.
    pub(super) fn explain(&self, problems: Problems) -> Problems {
        let mut problems = problems.0;
        for problem in &mut problems {
            let Problem { key, value, origin, .. } = problem;
            if origin.is_some() {
                continue;
            }
            let Some(found) = get(&self.tree, key) else { continue };
            // A table comes from many places; an empty text says that nothing was set.
            let Some(shown) = show(found).filter(|shown| shown != "\"\"") else { continue };
            *origin = Some(match found.origin() {
                None => "the default".to_owned(),
                Some("the environment") => {
                    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
                }
                Some(origin) => origin.to_owned(),
            });
            *value = Some(shown).filter(|shown| !is_secret(key) && !shown.contains('@'));
        }
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        problems.dedup();
        Problems(problems)
    }

    /// Puts the contents of `redis.url_file` and its like in the place of `redis.url`.
    fn read_secret_files(&mut self, problems: &mut Problems) {
        for key in SECRETS {
            let file_key = format!("{key}_file");
            let Some(file) = take(&mut self.tree, &file_key) else { continue };
            let ValueKind::String(path) = file.kind else {
                problems.add(file_key, "must be the path of a file");
                continue;
            };
            let given = get(&self.tree, key).and_then(Value::origin);
            if given.is_some_and(|origin| FALLBACKS.iter().all(|(name, _)| *name != origin)) {
                problems.add(file_key, format!("{key} is set too: keep one of them"));
                continue;
            }
            if let Some(text) = secret::read_file(&file_key, &PathBuf::from(&path), problems) {
                put(&mut self.tree, key, Value::new(Some(&path), text.expose_secret()));
            }
        }
    }

    /// A configuration file is read by many and kept in many places: no secret in it.
    fn refuse_secrets_in(&self, file: Option<&str>, problems: &mut Problems) {
        for key in SECRETS {
            let Some(found) = get(&self.tree, key) else { continue };
            let ValueKind::String(text) = &found.kind else { continue };
            let secret = if key.ends_with("url") {
                holds_password(text)
            } else {
                key.ends_with("token") && !text.is_empty()
            };
            if secret && file.is_some() && found.origin() == file {
                let variable = key.to_uppercase().replace('.', "__");
                problems.add(key, format!("a secret stands in the configuration: put it into {PREFIX}{variable}, or into a file of its own and name that with {key}_file"));
            }
        }
    }

    fn refuse_bad_lanes(&mut self, problems: &mut Problems) {
        let Some(ValueKind::Table(connections)) =
            get_mut(&mut self.tree, "connections").map(|found| &mut found.kind)
        else {
            return;
        };
        connections.retain(|name, _| match name.parse::<Lane>() {
            Ok(_) => true,
            Err(error) => {
                problems.add(format!("connections.{name}"), error.to_string());
                false
            }
        });
    }
}

/// Takes out fractions where no fraction belongs and truth values, which would be made into whole
/// numbers without a word, and numbers where a truth value belongs.
fn refuse_near_misses(key: &str, tree: &mut Value, defaults: &Value, problems: &mut Problems) {
    let ValueKind::Table(table) = &mut tree.kind else { return };
    for (name, value) in table {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let default = get(defaults, &key);
        let what = match (&value.kind, default.map(|d| &d.kind)) {
            (ValueKind::Boolean(_), Some(ValueKind::Boolean(_)))
            | (ValueKind::Float(_), Some(ValueKind::Float(_))) => continue,
            (ValueKind::I64(_) | ValueKind::Float(_), Some(ValueKind::Boolean(_))) => {
                "must be true or false"
            }
            (ValueKind::Boolean(_), _) => "is neither true nor false: write what the default shows",
            (ValueKind::Float(_), _) => "must be a whole number",
            _ => {
                refuse_near_misses(&key, value, defaults, problems);
                continue;
            }
        };
        problems.0.push(Problem {
            value: show(value),
            origin: value.origin().map(str::to_owned),
            key,
            what: what.to_owned(),
        });
        *value = default.cloned().unwrap_or_else(|| Value::new(None, 1));
    }
}

/// Lays a TOML text over the tree.
fn lay(
    name: &str,
    origin: Option<&String>,
    text: &str,
    tree: &mut Value,
) -> Result<(), ConfigError> {
    let syntax = |what: String| ConfigError::Syntax { file: name.to_owned(), what };
    let table = FileFormat::Toml.parse(origin, text).map_err(|cause| {
        // The message quotes the line at fault between the place and the reason.
        let lines = cause.to_string();
        let told: Vec<_> = lines.lines().filter(|line| !line.contains('|')).collect();
        syntax(told.join(": "))
    })?;
    Layer(table).collect_to(tree).map_err(|cause| syntax(cause.to_string()))
}

#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, Cause> {
        Ok(self.0.clone())
    }
}

/// The key that an error is about, what is wrong with it, and the remedy.
fn describe(cause: Cause) -> (String, String) {
    match cause {
        Cause::NotFound(key) => (key, "is missing: set it".to_owned()),
        Cause::Type { expected, key, .. } => {
            (key.unwrap_or_default(), format!("must be {expected}"))
        }
        Cause::At { error, key, .. } => {
            let parent = key.unwrap_or_default();
            let (field, what) = describe(*error);
            let dot = if field.is_empty() { "" } else { "." };
            (format!("{parent}{dot}{field}"), what)
        }
        Cause::Message(text) => match text.strip_prefix("unknown field `") {
            Some(rest) => {
                let (field, expected) = rest.split_once('`').unwrap_or((rest, ""));
                (field.to_owned(), unknown(field, expected))
            }
            None => (String::new(), text),
        },
        other => (String::new(), other.to_string()),
    }
}

fn unknown(field: &str, expected: &str) -> String {
    if SECRET_NAMES.contains(&field) {
        format!(
            "a secret does not stand in the configuration: put it into a file and name that with {field}_file, or into a variable and name that with {field}_env"
        )
    } else {
        let known = expected.trim_start_matches(", ").replace('`', "");
        format!("is no setting: correct or remove it ({known})")
    }
}

fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    SECRETS.contains(&key) || SECRET_NAMES.contains(&name)
}

/// Whether an address has a password in it: before the host, or among its parameters. A list of
/// hosts is no URL for a parser of URLs.
fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || query.contains("pass")
}

/// A scalar as TOML writes it.
fn show(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(format!("{text:?}")),
        ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => None,
        other => Some(other.to_string()),
    }
}
