//! The platforms' own HTTP client for webhooks.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use url::Url;

use crate::notice::{Delivery, DeliveryStats};

#[expect(
    clippy::disallowed_methods,
    reason = "the platforms' own client for webhooks, which no permit of ours governs"
)]
pub(crate) fn client(limit: Duration) -> reqwest::Result<reqwest::Client> {
    // Fails when a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(limit).redirect(Policy::none()).no_proxy().build()
}

/// Sends it; `None` when there is no answer.
#[expect(
    clippy::disallowed_methods,
    reason = "the platforms' own client for webhooks, which no permit of ours governs"
)]
pub(crate) async fn request(
    client: &reqwest::Client,
    target: Url,
    delivery: Delivery,
) -> Option<Response> {
    let mut request = client.post(target).body(delivery.body);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.send().await.ok()
}

/// Sends it; the status of the answer, if there is one.
pub(crate) async fn post(
    client: &reqwest::Client,
    target: Url,
    delivery: Delivery,
) -> Option<StatusCode> {
    request(client, target, delivery).await.map(|response| response.status())
}

impl Delivery {
    /// The same with one digit of the signature changed; `None` when it has none.
    pub(crate) fn with_wrong_signature(&self) -> Option<Self> {
        let mut wrong = self.clone();
        let (_, signature) =
            wrong.headers.iter_mut().find(|(name, _)| *name == "x-signature-ed25519")?;
        let first = if signature.starts_with('0') { '1' } else { '0' };
        signature.replace_range(..1, &first.to_string());
        Some(wrong)
    }
}

impl DeliveryStats {
    /// Counts an attempt and its answer.
    pub(crate) fn count(&mut self, answer: Option<StatusCode>, attempt: u32) {
        self.attempts += 1;
        self.retries += u64::from(attempt > 0);
        match answer.map(|status| status.as_u16() / 100) {
            Some(2) => self.answered_2xx += 1,
            Some(3) => self.answered_3xx += 1,
            Some(4) => self.answered_4xx += 1,
            Some(_) => self.answered_5xx += 1,
            None => self.unanswered += 1,
        }
    }
}
