//! Who may use whom.
//!
//! An arrow that is not in one of the tables fails the test; changing a table is a decision and
//! comes with a page in `docs/decisions/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `common`, from the bottom up, and what of `common` each may use.
const MODULES: [(&str, &[&str]); 16] = [
    ("ids", &[]),
    ("retry", &[]),
    ("lifecycle", &[]),
    ("telemetry", &[]),
    ("drift", &[]),
    ("freshness", &[]),
    ("confidence", &[]),
    ("job", &["ids"]),
    ("quota", &["ids"]),
    ("credentials", &["ids"]),
    // The way to Redis, however it is run.
    ("link", &["retry"]),
    ("config", &["ids", "retry", "quota", "credentials", "link", "freshness"]),
    ("store", &["ids", "job", "drift", "freshness", "confidence"]),
    ("queue", &["ids", "job", "quota", "link"]),
    ("platform", &["ids", "job", "quota", "drift", "telemetry"]),
    // From the configuration to stores and connections: what every process needs at its start.
    (
        "fleet",
        &[
            "ids",
            "retry",
            "lifecycle",
            "telemetry",
            "credentials",
            "config",
            "drift",
            "freshness",
            "job",
            "quota",
            "link",
            "store",
            "queue",
            "platform",
        ],
    ),
];

/// Crates, and which of ours each may depend on. `tests` and `xtask` may use all.
const CRATES: [(&str, &[&str]); 8] = [
    // In its tests.
    ("common", &["redis_servers"]),
    // Written from the platforms' documents, so that a misreading in an adapter is not mirrored.
    ("simulator", &[]),
    ("worker", &["common"]),
    ("scheduler", &["common"]),
    ("ingress", &["common"]),
    ("console", &["common"]),
    ("syncline", &["common"]),
    // Used by tests alone, also those of common.
    ("tests/redis_servers", &[]),
];

/// The only way out; what stands in for the platforms sends webhooks and has a way of its own.
const MAY_SEND: [&str; 2] = ["common/src/platform/api.rs", "simulator/src/"];

/// How requests are made with reqwest. A channel's `send` has an argument.
const SENDING: [&str; 5] =
    ["reqwest::Client", "reqwest::get", "reqwest::blocking", "ClientBuilder", ".send()"];

#[test]
fn modules_of_common_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources("common/src") {
        let Some(module) = module_of(&path) else { continue };
        wrong.extend(
            arrows(&text)
                .into_iter()
                .filter_map(|used| complaint(&module, &used).map(|what| format!("{path}: {what}"))),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_every_module_of_common() {
    let root = without_comments(&read(&workspace().join("common/src/lib.rs")));
    let declared: BTreeSet<_> = root
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let listed: BTreeSet<_> = MODULES.iter().map(|(name, _)| *name).collect();
    assert_eq!(declared, listed);
}

#[test]
fn crates_depend_only_on_what_is_below_them() {
    for (name, allowed) in CRATES {
        let manifest = read(&workspace().join(name).join("Cargo.toml"));
        let found = own_dependencies(&manifest);
        let wrong: Vec<_> = found.iter().filter(|used| !allowed.contains(&used.as_str())).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
    }
}

#[test]
fn there_is_one_way_out() {
    let mut wrong = Vec::new();
    for (name, _) in CRATES {
        for (path, text) in sources(&format!("{name}/src")) {
            if !MAY_SEND.iter().any(|allowed| path.starts_with(allowed)) {
                wrong.extend(ways_out(&text).into_iter().map(|how| format!("{path}: {how}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checks_find_what_they_look_for() {
    let source = r"
        //! May mention crate::platform, and [`crate::store::Store`].
        use crate::ids::Lane;
        use crate::store::{Mirror, Upsert};
        use crate::{job, queue};
        fn f() -> crate::quota::Permit { super::super::lifecycle::run() }
        #[cfg(test)]
        mod tests { use super::*; }
    ";
    let found: Vec<_> = arrows(source).into_iter().collect();
    assert_eq!(found, ["ids", "lifecycle", "quota", "store", "{job"]);
    assert_eq!(complaint("queue", "ids"), None);
    assert_eq!(complaint("queue", "queue"), None);
    assert!(complaint("queue", "platform").is_some());
    assert!(complaint("store", "queue").is_some());
    assert!(complaint("store", "{job").is_some());

    let sending = "async fn f(c: reqwest::Client) {\n  c.get(URL)\n    .send()\n    .await }";
    assert_eq!(ways_out(sending), ["reqwest::Client", ".send()"]);
    assert!(ways_out("tx.send(1).await; // not reqwest::get").is_empty());

    let manifest = "[dependencies]\ncommon.workspace = true\nserde = \"1\"\n[dev-dependencies]\nworker = { path = \"../worker\" }\nredis_servers.workspace = true\n";
    assert_eq!(own_dependencies(manifest), ["common", "worker", "redis_servers"]);

    assert_eq!(module_of("common/src/store/mirror.rs").as_deref(), Some("store"));
    assert_eq!(module_of("common/src/retry.rs").as_deref(), Some("retry"));
    assert_eq!(module_of("common/src/lib.rs"), None);
}

/// What speaks against `module` using `used`.
fn complaint(module: &str, used: &str) -> Option<String> {
    if used.starts_with('{') {
        return Some("write one use for each module: use crate::job::{Job, Task};".to_owned());
    }
    let allowed = MODULES.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, a)| a);
    (used != module && !allowed.contains(&used))
        .then(|| format!("{module} may not use {used} (see the table in layers.rs)"))
}

/// The modules of its own crate that a source names, by `crate::` or by climbing out.
fn arrows(source: &str) -> BTreeSet<String> {
    let code = without_comments(source);
    let known = |name: &str| MODULES.iter().any(|(module, _)| *module == name);
    let absolute = code.split("crate::").skip(1).map(first_word);
    let climbing = code.split("super::super::").skip(1).map(first_word).filter(|name| known(name));
    absolute.chain(climbing).collect()
}

fn first_word(text: &str) -> String {
    let brace = if text.starts_with('{') { "{" } else { "" };
    let word = text.trim_start_matches('{').trim_start();
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    format!("{brace}{}", &word[..end])
}

fn ways_out(source: &str) -> Vec<&'static str> {
    // It leads to Redis, and has a name that ends like that of the other.
    let code = without_comments(source).replace("SentinelClientBuilder", "");
    SENDING.into_iter().filter(|how| code.contains(how)).collect()
}

fn own_dependencies(manifest: &str) -> Vec<String> {
    let (_, dependencies) = manifest.split_once("dependencies]").unwrap_or_default();
    dependencies
        .lines()
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| {
            let is_ours = |(path, _): &(&str, _)| path.rsplit('/').next() == Some(*name);
            CRATES.iter().any(is_ours) || *name == "tests"
        })
        .map(str::to_owned)
        .collect()
}

fn without_comments(source: &str) -> String {
    source
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `store` for `common/src/store/mirror.rs`; `None` for the root.
fn module_of(path: &str) -> Option<String> {
    let inside = path.strip_prefix("common/src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (module != "lib").then(|| module.to_owned())
}

/// Every Rust source under a folder of the workspace, as pairs of path and text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut folders = vec![workspace().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let shown = path.strip_prefix(workspace()).unwrap().display().to_string();
                found.push((shown, read(&path)));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
