//! Takes whatever is posted to it and keeps it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(10);

/// What was posted.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server that answers 202 to everything. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    posts: Posts,
    _serving: JoinSet<()>,
}

type Posts = Arc<Mutex<Vec<Post>>>;

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let posts = Posts::default();
        let router = Router::new().fallback(keep).with_state(Arc::clone(&posts));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Ok(Self { url, posts, _serving: serving })
    }

    /// Everything so far, in order.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// The first post, once it is there.
    pub(crate) async fn first(&self) -> anyhow::Result<Post> {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(first) = self.posts().into_iter().next() {
                return Ok(first);
            }
            sleep(Duration::from_millis(10)).await;
        }
        bail!("nothing was posted")
    }
}

async fn keep(State(posts): State<Posts>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    posts.lock().unwrap().push(Post { path: uri.path().to_owned(), headers, body });
    StatusCode::ACCEPTED
}
