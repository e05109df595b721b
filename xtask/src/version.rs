//! The version a server program reports, and the oldest we can use.

use std::{fmt, path::Path, process::Stdio};

use crate::account::Account;

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// Asks `program --version` as `account`: so it is known to be there, to be executable by
    /// the user who has to run it, and to find its libraries.
    pub fn of(program: &Path, account: &Account) -> Option<Self> {
        let output = account
            .command(program, Path::new("/"))
            .arg("--version")
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// The first word that looks like a version: `Redis server v=7.0.15 sha=…`,
    /// `postgres (PostgreSQL) 15.18 (Debian …)`, `postgres (PostgreSQL) 19beta1`.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.trim_start_matches("v=").split('.').map(leading_number);
            Some(Self(parts.next()??, parts.next().flatten().unwrap_or(0)))
        })
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_servers_print_them() {
        let check = |text, expected| assert_eq!(Version::parse(text), expected, "{text}");
        check("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", Some(Version(7, 0)));
        check("Valkey server v=8.1.8 sha=00000000:1 malloc=libc", Some(Version(8, 1)));
        check("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(Version(15, 18)));
        check("postgres (PostgreSQL) 19beta1", Some(Version(19, 0)));
        check("command not found", None);
    }
}
