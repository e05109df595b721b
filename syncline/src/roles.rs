//! `syncline roles`, and the users of `syncline migrate --users`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, PgPool};

use crate::answer::Answer;

const STATEMENTS: &str = include_str!("roles.sql");
/// Each has a role `syncline_<process>`.
const PROCESSES: [&str; 4] = ["worker", "ingress", "scheduler", "console"];
/// Shorter ones can be guessed.
const PASSWORD_MIN: usize = 16;

/// A process, and what its user of Postgres logs in with.
pub(crate) type Password = (&'static str, SecretString);

/// Prints the statements; whoever may create roles runs them.
pub(crate) fn run() -> Answer {
    Answer::text(STATEMENTS.trim_end().to_owned())
}

/// The passwords in a folder; one newline at the end of a file does not count.
pub(crate) fn passwords(folder: &Path) -> anyhow::Result<Vec<Password>> {
    let mut passwords = Vec::new();
    for process in PROCESSES {
        let file = folder.join(format!("{process}_password"));
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.len() < PASSWORD_MIN || text.contains(['\n', '\0']) {
            bail!("{}: one line of at least {PASSWORD_MIN} characters", file.display());
        }
        passwords.push((process, SecretString::from(text)));
    }
    if passwords.is_empty() {
        bail!("{}: no file of worker_password, ingress_password, ...", folder.display());
    }
    Ok(passwords)
}

/// Makes roles and users, all or none of them, and says which users there are. May be run again, with
/// other passwords too.
pub(crate) async fn make(db: &PgPool, passwords: &[Password]) -> anyhow::Result<String> {
    let mut tx = db.begin().await?;
    sqlx::raw_sql(STATEMENTS).execute(&mut *tx).await.context("making the roles")?;
    let mut users = Vec::new();
    for (process, password) in passwords {
        let (user, role) = (format!("fleet_{process}"), format!("syncline_{process}"));
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
                .bind(&user)
                .fetch_one(&mut *tx)
                .await?;
        // No statement of this kind takes parameters; Postgres quotes them itself.
        let statements: String = sqlx::query_scalar(
            "select format(case when $4 then 'alter' else 'create' end || ' role %1$I login password %2$L;
                            grant %3$I to %1$I', $1, $2, $3)",
        )
        .bind(&user)
        .bind(password.expose_secret())
        .bind(&role)
        .bind(there)
        .fetch_one(&mut *tx)
        .await?;
        // Its error would show the statement: only what Postgres says is passed on.
        let made = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await;
        if let Err(error) = made {
            let why = error.as_database_error().map_or("no connection", |error| error.message());
            bail!("making the user {user}: {why}");
        }
        users.push(user);
    }
    tx.commit().await?;
    Ok(users.join(", "))
}
