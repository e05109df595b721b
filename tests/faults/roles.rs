//! Each process with a user of its own, who may do what the process does and nothing else.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use simulator::{ChangeKind, ChangeRequest, Platform, RecordType};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tests::config_file::KLAVIYO_ENDPOINT;
use tests::program::Program;
use tests::scene::{Scene, Setup, database_url};
use tokio::net::TcpListener;
use tokio::process::Command;
use url::Url;
use uuid::Uuid;

const PASSWORD: &str = "a-password-of-a-test";
const PROCESSES: [&str; 4] = ["worker", "ingress", "scheduler", "console"];

/// What `syncline roles` prints, as whoever owns the tables runs it.
async fn make_roles(db: &PgPool) -> anyhow::Result<()> {
    let program = Program::path("syncline")?;
    let printed = Command::new(program).arg("roles").output().await?;
    assert!(printed.status.success());
    sqlx::raw_sql(AssertSqlSafe(String::from_utf8(printed.stdout)?)).execute(db).await?;
    Ok(())
}

/// Users that are gone at the end of their story.
struct Users {
    db: PgPool,
    mark: String,
}

impl Users {
    async fn new(db: &PgPool) -> anyhow::Result<Self> {
        let users = Self { db: db.clone(), mark: Uuid::now_v7().simple().to_string() };
        for process in PROCESSES {
            let name = users.name(process);
            users
                .tell(format!(
                    "create role {name} login password '{PASSWORD}' in role syncline_{process}"
                ))
                .await?;
        }
        Ok(users)
    }

    fn name(&self, process: &str) -> String {
        format!("fleet_{process}_{}", self.mark)
    }

    fn url(&self, process: &str) -> anyhow::Result<String> {
        let mut url = Url::parse(&database_url(&self.db))?;
        let named = url.set_username(&self.name(process));
        named.and(url.set_password(Some(PASSWORD))).ok().context("an address has a user")?;
        Ok(url.into())
    }

    async fn tell(&self, statement: String) -> anyhow::Result<()> {
        sqlx::query(AssertSqlSafe(statement)).execute(&self.db).await?;
        Ok(())
    }

    async fn go(self) -> anyhow::Result<()> {
        for process in PROCESSES {
            self.tell(format!("drop role {}", self.name(process))).await?;
        }
        Ok(())
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn each_process_does_its_work_with_the_rights_of_its_role(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup::default();
    setup.klaviyo.push_str(
        "\nschedules = [{ record_type = \"profile\", mode = \"full\", cron = \"0 3 * * *\" }]",
    );
    let mut scene = Scene::new(db.clone(), setup).await?;
    make_roles(&db).await?;
    // A second time changes nothing.
    make_roles(&db).await?;
    let users = Users::new(&db).await?;
    let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let mut programs = Vec::new();
    for process in ["worker", "ingress", "scheduler"] {
        let url = users.url(process)?;
        let more = [
            ("SYNCLINE__POSTGRES__URL", url.as_str()),
            ("SYNCLINE__INGRESS__LISTEN", listen.as_str()),
            ("SYNCLINE__SCHEDULER__WATCH_SENDERS_EVERY", "500ms"),
        ];
        programs.push(scene.start_program(&format!("syncline-{process}"), &more)?);
    }
    let ready = format!("http://{listen}/health/ready");
    scene
        .until("the ingress is ready", async |scene| {
            let asked = scene.http.send(scene.http.request(Method::GET, &ready)).await;
            Ok(matches!(asked, Ok((StatusCode::OK, _))))
        })
        .await?;
    let target = format!("http://{listen}/webhooks/klaviyo/{KLAVIYO_ENDPOINT}").parse()?;
    scene.platforms.set_webhook_target(Platform::Klaviyo, Some(target));
    scene.platforms.change(&ChangeRequest {
        platform: Platform::Klaviyo,
        record_type: Some(RecordType::Profile),
        external_id: None,
        kind: ChangeKind::Edit,
        notify: true,
    })?;
    scene
        .until(
            "a scan is done, a webhook worked off, a sender found well, a partition made",
            async |scene| {
                let done = "select (select count(*) from bulk_runs where state = 'done')
                             * (select count(*) from sync_operations where trigger = 'webhook')
                             * (select count(*) from webhook_senders where well_at is not null)
                             * (select count(*) from pg_inherits
                                 where inhparent = 'sync_operations'::regclass)";
                Ok(scene.count(done).await? > 1)
            },
        )
        .await?;
    let log = std::fs::read_to_string(scene.folder.path().join("log"))?;
    let denied: Vec<&str> =
        log.lines().filter(|line| line.contains("permission denied")).take(3).collect();
    assert!(denied.is_empty(), "somebody asked for more than is granted: {denied:#?}");
    for program in &mut programs {
        assert!(program.stop().await?.success());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    users.go().await
}

/// As the Job in deploy/kubernetes does it. The name is this cluster's, so one story has it.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_migration_makes_users_with_the_rights_of_their_process(
    db: PgPool,
) -> anyhow::Result<()> {
    let scene = Scene::new(db.clone(), Setup::default()).await?;
    let folder = tempfile::tempdir()?;
    let migrate = async || -> anyhow::Result<(bool, String)> {
        let arguments = ["migrate", "--users", folder.path().to_str().context("UTF-8")?];
        let output = Command::new(Program::path("syncline")?)
            .args(arguments)
            .env("SYNCLINE_CONFIG", scene.folder.file())
            .envs(scene.environment())
            .output()
            .await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(said)?))
    };
    let (done, said) = migrate().await?;
    assert!(!done && said.contains("worker_password"), "nobody to make: {said}");
    std::fs::write(folder.path().join("worker_password"), "short")?;
    assert!(!migrate().await?.0);

    for password in ["the first password 'of' a test", "the second password of a test"] {
        std::fs::write(folder.path().join("worker_password"), format!("{password}\n"))?;
        let (done, said) = migrate().await?;
        assert!(done && said.contains("fleet_worker") && !said.contains(password), "{said}");
        let mut url = Url::parse(&database_url(&db))?;
        let named = url.set_username("fleet_worker");
        named.and(url.set_password(Some(password))).ok().context("an address has a user")?;
        let mut worker = PgConnection::connect(url.as_str()).await?;
        sqlx::query("select from inbox").execute(&mut worker).await?;
        let refused = sqlx::query("drop table inbox").execute(&mut worker).await;
        assert!(refused.is_err());
        worker.close().await?;
    }
    sqlx::query("drop role fleet_worker").execute(&db).await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn no_role_can_do_more_than_its_process(db: PgPool) -> anyhow::Result<()> {
    make_roles(&db).await?;
    let users = Users::new(&db).await?;
    for (process, refused) in [
        (
            "worker",
            vec![
                "drop table inbox",
                "alter table inbox add column more text",
                "truncate sync_operations",
                "create table mine ()",
                "delete from external_integrations",
                "delete from connections",
                "select ensure_sync_operations_partitions(1)",
                "select * from _sqlx_migrations",
            ],
        ),
        (
            "ingress",
            vec![
                "select payload from external_integrations",
                "delete from inbox",
                "drop table inbox",
                "select * from dead_letters",
            ],
        ),
        (
            "scheduler",
            vec![
                "drop table sync_operations_default",
                "update external_integrations set flags = 0",
            ],
        ),
        (
            "console",
            vec![
                "select token from connection_credentials",
                "insert into inbox default values",
                "update connections set parked_reason = null",
            ],
        ),
    ] {
        let mut session = PgConnection::connect(&users.url(process)?).await?;
        for statement in refused {
            let error = sqlx::query(statement).execute(&mut session).await.unwrap_err();
            let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default();
            // 42501 insufficient_privilege.
            assert_eq!(code, "42501", "{process}: {statement}: {error}");
        }
        session.close().await?;
    }
    users.go().await
}

/// A new table is granted to whoever needs it, in `syncline/src/roles.sql`.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn every_table_belongs_to_somebodys_work(db: PgPool) -> anyhow::Result<()> {
    make_roles(&db).await?;
    let forgotten: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class as t
          where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
            and not relispartition and relname <> '_sqlx_migrations'
            and not exists (
                select from unnest(array['worker', 'ingress', 'scheduler', 'console']) as process
                 where has_table_privilege('syncline_' || process, t.oid, 'select, insert'))",
    )
    .fetch_all(&db)
    .await?;
    assert!(forgotten.is_empty(), "syncline/src/roles.sql says nothing of {forgotten:?}");
    Ok(())
}
