//! The one HTTP client of tests and demo. It speaks to what they started themselves.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

/// Longer than anything on this machine should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client for addresses on this machine.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

impl Http {
    /// # Errors
    ///
    /// When there is no TLS provider, which every process installs at its start.
    pub fn new() -> anyhow::Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        #[expect(clippy::disallowed_methods, reason = "this speaks to our own processes")]
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self(client))
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.0.request(method, url)
    }

    /// Sends it; the answer's status and body.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let response = self.response(request).await?;
        Ok((response.status(), response.text().await?))
    }

    /// Sends it; the answer as it comes, headers and all.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn response(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = request.build()?;
        #[expect(clippy::disallowed_methods, reason = "this speaks to our own processes")]
        let response = self.0.execute(request).await?;
        Ok(response)
    }

    /// The JSON that a GET answers with.
    ///
    /// # Errors
    ///
    /// When it is not 200, or not of that form.
    pub async fn get_json<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let (status, body) = self.send(self.request(Method::GET, url)).await?;
        if status != StatusCode::OK {
            bail!("{url} answered {status}");
        }
        serde_json::from_str(&body).with_context(|| format!("the answer of {url}"))
    }

    /// Posts JSON; the answer's status and body.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn post_json(
        &self,
        url: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<(StatusCode, String)> {
        let request = self
            .request(Method::POST, url)
            .header("content-type", "application/json")
            .body(body.to_string());
        self.send(request).await
    }
}
