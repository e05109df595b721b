//! Connecting and migrating.

use common::store::{self, StoreError};
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

const WAIT: std::time::Duration = std::time::Duration::from_secs(30);

#[sqlx::test(migrations = false)]
async fn migrations_apply_to_an_empty_database_and_again_do_nothing(db: PgPool) {
    let tables = "select count(*) from information_schema.tables where table_schema = 'public'";
    store::migrate(&db).await.unwrap();
    let first: i64 = sqlx::query_scalar(tables).fetch_one(&db).await.unwrap();
    store::migrate(&db).await.unwrap();
    let second: i64 = sqlx::query_scalar(tables).fetch_one(&db).await.unwrap();
    assert!(first >= 11);
    assert_eq!(first, second);
}

#[sqlx::test(migrations = false)]
async fn a_connection_has_time_outs(_: PgPoolOptions, options: PgConnectOptions) {
    let url = SecretString::from(options.to_url_lossy().to_string());
    let db = store::connect(&url, 2, WAIT).await.unwrap();
    for (setting, expected) in [
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("application_name", "syncline"),
    ] {
        let actual: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(actual, expected, "{setting}");
    }
    db.close().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_not_repeated_in_the_error() {
    let url = SecretString::from("postgres//user:hunter2@nowhere");
    let error = store::connect(&url, 1, WAIT).await.unwrap_err();
    assert!(matches!(error, StoreError::Address));
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[sqlx::test(migrations = false)]
async fn a_server_that_refuses_us_is_not_asked_again(_: PgPoolOptions, options: PgConnectOptions) {
    let url = options.database("no such database").to_url_lossy().to_string();
    let error = store::connect(&SecretString::from(url), 1, WAIT).await.unwrap_err();
    let StoreError::Database(sqlx::Error::Database(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.code().as_deref(), Some("3D000"));
}
