//! Looks for server programs that are already on the machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{account::Account, version::Version};

/// A server we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Redis, or Valkey which speaks the same.
    Redis,
    /// Postgres.
    Postgres,
}

impl Wanted {
    /// The oldest version whose features we use.
    pub fn oldest(self) -> Version {
        match self {
            Self::Redis => Version(6, 2),
            Self::Postgres => Version(15, 0),
        }
    }

    /// How people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Postgres => "Postgres",
        }
    }
}

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The server program of Redis or Valkey.
    pub redis: Option<PathBuf>,
    /// The folder with `initdb` and `postgres`.
    pub postgres: Option<PathBuf>,
}

impl Found {
    /// What still has to be looked for.
    pub fn missing(&self) -> Vec<Wanted> {
        let mut missing = Vec::new();
        if self.redis.is_none() {
            missing.push(Wanted::Redis);
        }
        if self.postgres.is_none() {
            missing.push(Wanted::Postgres);
        }
        missing
    }

    /// Fills gaps from a later source.
    pub fn fill(&mut self, later: Self) {
        self.redis = self.redis.take().or(later.redis);
        self.postgres = self.postgres.take().or(later.postgres);
    }
}

/// Whether a program may be used; tests pass their own.
pub type Usable<'a> = &'a dyn Fn(Wanted, &Path) -> bool;

/// The check for real use: it runs as `account` and is not too old.
pub fn usable_by(account: &Account) -> impl Fn(Wanted, &Path) -> bool {
    move |wanted, program| {
        Version::of(program, account).is_some_and(|version| version >= wanted.oldest())
    }
}

/// Looks through `folders` in their order.
pub fn in_folders(folders: &[PathBuf], usable: Usable<'_>) -> Found {
    Found {
        redis: folders
            .iter()
            .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)))
            .find(|program| is_executable(program) && usable(Wanted::Redis, program)),
        postgres: folders.iter().find_map(|folder| postgres_folder(folder, usable)),
    }
}

/// The folder that really holds Postgres' programs: the one on PATH may hold but links to a few
/// of them, and `postgres` looks for its own files from where it really lies.
fn postgres_folder(folder: &Path, usable: Usable<'_>) -> Option<PathBuf> {
    let initdb = fs::canonicalize(folder.join("initdb")).ok()?;
    let folder = initdb.parent()?;
    let server = folder.join("postgres");
    (is_executable(&initdb) && is_executable(&server) && usable(Wanted::Postgres, &server))
        .then(|| folder.to_owned())
}

/// The folders of PATH, then those where Debian keeps `/sbin` and Postgres' server programs.
pub fn system_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/bin", "/usr/sbin"].map(PathBuf::from));
    folders.extend(versioned(Path::new("/usr/lib/postgresql")));
    folders
}

/// `ROOT/*/bin`, newest version first.
pub fn versioned(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut found: Vec<(Version, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = Version::parse(entry.file_name().to_str()?)?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn machine(programs: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for program in programs {
            let file = root.path().join(program);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        root
    }

    fn look(root: &TempDir, folders: &[&str], usable: Usable<'_>) -> Found {
        let root = fs::canonicalize(root.path()).unwrap();
        let folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
        let found = in_folders(&folders, usable);
        let inside = |path: PathBuf| path.strip_prefix(&root).unwrap().to_owned();
        Found { redis: found.redis.map(inside), postgres: found.postgres.map(inside) }
    }

    #[test]
    fn the_first_folder_that_has_a_program_wins() {
        let root = machine(&["a/redis-server", "b/redis-server", "b/initdb", "b/postgres"]);
        let found = look(&root, &["empty", "a", "b"], &|_, _| true);
        assert_eq!(found.redis, Some("a/redis-server".into()));
        assert_eq!(found.postgres, Some("b".into()));
        assert!(found.missing().is_empty());
    }

    #[test]
    fn valkey_serves_where_there_is_no_redis() {
        let root = machine(&["a/valkey-server"]);
        let found = look(&root, &["a"], &|_, _| true);
        assert_eq!(found.redis, Some("a/valkey-server".into()));
        assert_eq!(found.missing(), [Wanted::Postgres]);
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_folder_with_all_programs() {
        let root = machine(&["lib/15/bin/initdb", "lib/15/bin/postgres", "bin/other"]);
        symlink(root.path().join("lib/15/bin/initdb"), root.path().join("bin/initdb")).unwrap();
        let found = look(&root, &["bin"], &|_, _| true);
        assert_eq!(found.postgres, Some("lib/15/bin".into()));
    }

    #[test]
    fn client_programs_alone_are_no_postgres() {
        let root = machine(&["a/psql", "a/initdb"]);
        assert_eq!(look(&root, &["a"], &|_, _| true).postgres, None);
    }

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let root = machine(&["old/redis-server", "new/redis-server"]);
        let found =
            look(&root, &["old", "new"], &|_, program| !program.ends_with("old/redis-server"));
        assert_eq!(found.redis, Some("new/redis-server".into()));

        let file = root.path().join("new/redis-server");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(look(&root, &["new"], &|_, _| true).redis, None);
    }

    #[test]
    fn the_newest_postgres_comes_first_and_ten_is_newer_than_nine() {
        let root = machine(&["9.6/bin/x", "15/bin/x", "10/bin/x", "common/bin/x"]);
        let order = versioned(root.path());
        let expected = ["15/bin", "10/bin", "9.6/bin"].map(|folder| root.path().join(folder));
        assert_eq!(order, expected);
    }
}
