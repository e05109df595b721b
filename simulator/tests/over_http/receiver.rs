//! An endpoint that takes webhooks and answers as it is told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use url::Url;

/// One webhook as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: Url,
    received: watch::Sender<Vec<Received>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
    /// What decides instead, where the answer depends on what came.
    judge: Option<fn(&Received) -> u16>,
}

impl Receiver {
    /// Answers with these, one after another, and 200 from then on.
    pub(crate) async fn answering(answers: &[u16]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap()).parse().unwrap();
        let answers = answers.iter().rev().map(|code| StatusCode::from_u16(*code).unwrap());
        let answers = Arc::new(Mutex::new(answers.collect()));
        let received = watch::Sender::new(Vec::new());
        Self { url, received, answers, judge: None }.listening(listener)
    }

    /// Answers each with what `judge` says.
    pub(crate) async fn judging(judge: fn(&Received) -> u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap()).parse().unwrap();
        let received = watch::Sender::new(Vec::new());
        Self { url, received, answers: Arc::default(), judge: Some(judge) }.listening(listener)
    }

    fn listening(self, listener: TcpListener) -> Self {
        let receiver = self;
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Everything that came.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until so many have come.
    pub(crate) async fn first(&self, count: usize) -> Vec<Received> {
        let mut received = self.received.subscribe();
        let enough = received.wait_for(|received| received.len() >= count);
        timeout(Duration::from_secs(20), enough).await.expect("webhooks come").unwrap().clone()
    }
}

/// A content type stands on every answer, as Discord wants it.
async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let came = Received { headers, body };
    let status = match receiver.judge {
        Some(judge) => StatusCode::from_u16(judge(&came)).unwrap(),
        None => receiver.answers.lock().unwrap().pop().unwrap_or(StatusCode::OK),
    };
    receiver.received.send_modify(|received| received.push(came));
    (status, [("content-type", "text/plain")])
}
