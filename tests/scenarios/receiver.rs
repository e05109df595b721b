//! Takes whatever is posted to it and keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message;
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

impl Receiver {
    /// Of a counter: how much, by one of its attributes.
    pub(crate) fn counts(
        &self,
        metric: &str,
        attribute: &str,
    ) -> anyhow::Result<HashMap<String, i64>> {
        let mut counted = HashMap::new();
        for post in self.posts().into_iter().filter(|post| post.path == "/v1/metrics") {
            let request = ExportMetricsServiceRequest::decode(post.body)?;
            let resources = request.resource_metrics.into_iter();
            let metrics = resources.flat_map(|r| r.scope_metrics).flat_map(|scope| scope.metrics);
            for metric in metrics.filter(|told| told.name == metric) {
                let Some(Data::Sum(sum)) = metric.data else { bail!("a counter is a sum") };
                for point in sum.data_points {
                    let found = point.attributes.iter().find(|a| a.key == attribute);
                    let value = found.and_then(|a| a.value.clone()).and_then(|value| value.value);
                    let Some(Value::StringValue(value)) = value else { bail!("it is a text") };
                    let Some(number_data_point::Value::AsInt(count)) = point.value else {
                        bail!("a count is whole")
                    };
                    // Cumulative: the last one holds.
                    counted.insert(value, count);
                }
            }
        }
        Ok(counted)
    }
}
