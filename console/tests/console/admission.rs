//! Who gets in, and what every answer carries.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Scene, TOKEN, config, get, send};

fn sign_in(token: &str) -> Request<Body> {
    let token = token.replace(' ', "+");
    Request::post("/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}")))
        .unwrap()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_stranger_gets_a_form_and_nothing_else(db: PgPool) {
    let scene = Scene::new(db).await;
    let console = scene.console(TOKEN);

    let page = send(&console, get("/")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.body.contains("<form method=\"post\" action=\"/login\">"), "{}", page.body);
    assert!(!page.body.contains("klaviyo"), "{}", page.body);

    let api = send(&console, get("/api/status")).await;
    assert_eq!(api.status, StatusCode::UNAUTHORIZED);
    assert!(api.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert!(!api.body.contains("klaviyo"), "{}", api.body);

    // Whoever looks after the process knows no token.
    assert_eq!(send(&console, get("/health/live")).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_token_opens_the_api(db: PgPool) {
    let console = Scene::new(db).await.console(TOKEN);
    let mut request = get("/api/status");
    let value = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    let answer = send(&console, request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(answer.body.contains("klaviyo/main"), "{}", answer.body);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_signs_in_sees_the_page_until_signing_out(db: PgPool) {
    let console = Scene::new(db).await.console(TOKEN);

    let refused = send(&console, sign_in("a wrong token 0123456789")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.body.contains("not the console's token"), "{}", refused.body);
    assert!(!refused.headers.contains_key("set-cookie"));

    let welcomed = send(&console, sign_in(TOKEN)).await;
    assert_eq!(welcomed.status, StatusCode::SEE_OTHER);
    let cookie = welcomed.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("example"), "the token itself is in {cookie}");

    let mut request = get("/");
    let pair = cookie.split(';').next().unwrap().parse().unwrap();
    request.headers_mut().insert("cookie", pair);
    let page = send(&console, request).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("klaviyo/main"), "{}", page.body);

    let sign_out = Request::post("/logout").body(Body::empty()).unwrap();
    let left = send(&console, sign_out).await;
    assert!(left.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_name_that_was_made_to_point_here_gets_nothing(db: PgPool) {
    let console = Scene::new(db).await.console("");
    assert_eq!(send(&console, get("/")).await.status, StatusCode::OK);
    let mut request = get("/");
    request.headers_mut().insert("host", "rebound.example:8083".parse().unwrap());
    let answer = send(&console, request).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!answer.body.contains("klaviyo"), "{}", answer.body);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn every_answer_keeps_browsers_from_being_misused(db: PgPool) {
    let console = Scene::new(db).await.console("");
    for path in ["/", "/api/status", "/static/console.css", "/health/live", "/nowhere"] {
        let headers = send(&console, get(path)).await.headers;
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'self'"),
            "{path}"
        );
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_form_that_is_too_long_is_not_read(db: PgPool) {
    let console = Scene::new(db).await.console(TOKEN);
    let answer = send(&console, sign_in(&"x".repeat(100_000))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn it_answers_on_a_socket_and_ends_when_told_to(db: PgPool) {
    let scene = Scene::new(db).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lifecycle = Lifecycle::manual(Duration::from_secs(5));
    let config = config("");
    let using = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        lifecycle.stop();
        answer
    };
    let serving = console::serve(listener, scene.sources(), &config, &lifecycle);
    let (served, answer) = tokio::join!(serving, using);
    served.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_guesses_the_token_is_slowed_down_and_a_session_is_not(db: PgPool) {
    let console = Scene::new(db).await.console(TOKEN);
    let signed_in = send(&console, sign_in(TOKEN)).await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    for _ in 0..10 {
        let wrong = send(&console, sign_in("a wrong token 0123456789")).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let guess = send(&console, sign_in(TOKEN)).await;
    assert_eq!(guess.status, StatusCode::TOO_MANY_REQUESTS, "the right one is not even looked at");
    assert!(guess.headers.contains_key("retry-after") && !guess.headers.contains_key("set-cookie"));

    let mut request = get("/api/status");
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    assert_eq!(send(&console, request).await.status, StatusCode::OK);
}
