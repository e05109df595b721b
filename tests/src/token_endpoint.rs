//! A platform that is nothing but a token endpoint and a list: strict about both. Each refresh
//! token is taken once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use url::Url;

/// What becomes of the next requests for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// They are answered.
    Properly,
    /// New tokens are made, and the connection breaks before they are told.
    NotAfterRotating,
    /// They are not answered before [`TokenEndpoint::open_gate`], and then properly.
    AfterTheGate,
    /// They are never answered, and nothing is made.
    Never,
    /// 302 to an address that must not be followed.
    Redirect,
}

/// A running platform. Ends when dropped.
#[derive(Debug)]
pub struct TokenEndpoint {
    /// Its base URL.
    pub url: Url,
    state: Arc<Mutex<Platform>>,
    gate: Arc<Notify>,
    _server: JoinSet<()>,
}

/// What it knows and has seen.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The token that is taken.
    pub token: String,
    /// The refresh token that is taken, once.
    pub refresh_token: String,
    /// How long new tokens last, in seconds.
    pub expires_in: u64,
    /// What becomes of requests for tokens.
    pub answers: Answers,
    /// How often tokens were made.
    pub renewed: u32,
    /// How often it was asked for some.
    pub asked: u32,
    /// Requests with a token that is not taken.
    pub refused: u32,
    /// Requests with the right one.
    pub served: u32,
    /// Everything that must never be seen outside: all tokens that ever were.
    pub secrets: Vec<String>,
}

impl TokenEndpoint {
    /// Starts it; `token` and `refresh_token` are good.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(token: &str, refresh_token: &str) -> anyhow::Result<Self> {
        let platform = Platform {
            token: token.to_owned(),
            refresh_token: refresh_token.to_owned(),
            expires_in: 3600,
            answers: Answers::Properly,
            renewed: 0,
            asked: 0,
            refused: 0,
            served: 0,
            secrets: vec![token.to_owned(), refresh_token.to_owned()],
        };
        let (state, gate) = (Arc::new(Mutex::new(platform)), Arc::new(Notify::new()));
        let router = Router::new()
            .route("/oauth/token", post(renew))
            .fallback(any(list))
            .with_state((Arc::clone(&state), Arc::clone(&gate)));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse()?;
        let mut server = JoinSet::new();
        server.spawn(async move {
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { url, state, gate, _server: server })
    }

    /// What it knows and has seen, to look at and to change.
    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one request for tokens through, now or when it comes.
    pub fn open_gate(&self) {
        self.gate.notify_one();
    }
}

type Shared = (Arc<Mutex<Platform>>, Arc<Notify>);

async fn renew(State((state, gate)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = {
        let mut platform = lock();
        platform.asked += 1;
        platform.answers
    };
    match answers {
        Answers::AfterTheGate => gate.notified().await,
        Answers::Never => std::future::pending().await,
        Answers::Redirect => {
            return (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response();
        }
        Answers::Properly | Answers::NotAfterRotating => {}
    }
    // base64 of app:app-secret
    let client = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if client != Some("Basic YXBwOmFwcC1zZWNyZXQ=") {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" })))
            .into_response();
    }
    let form = String::from_utf8_lossy(&body).into_owned();
    let mut platform = lock();
    let expected = format!("grant_type=refresh_token&refresh_token={}", platform.refresh_token);
    if form != expected {
        let error = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    platform.renewed += 1;
    let n = platform.renewed;
    platform.token = format!("token-number-{n}-of-the-endpoint");
    platform.refresh_token = format!("refresh-number-{n}-of-the-endpoint");
    let (token, refresh_token) = (platform.token.clone(), platform.refresh_token.clone());
    platform.secrets.extend([token.clone(), refresh_token.clone()]);
    let answer = json!({
        "access_token": token, "refresh_token": refresh_token,
        "expires_in": platform.expires_in, "token_type": "Bearer", "scope": "profiles:read",
    });
    drop(platform);
    if answers == Answers::NotAfterRotating {
        // The server drops the connection of a handler that panics.
        std::panic::resume_unwind(Box::new("the connection breaks"));
    }
    Json(answer).into_response()
}

async fn list(State((state, _)): State<Shared>, headers: HeaderMap) -> Response {
    let mut platform = state.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = format!("Bearer {}", platform.token);
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given != Some(expected.as_str()) {
        platform.refused += 1;
        let error = json!({ "errors": [{ "code": "not_authenticated", "detail": "no" }] });
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    platform.served += 1;
    Json(json!({ "data": [], "links": { "next": null } })).into_response()
}
