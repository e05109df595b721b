//! A plain HTTP client and a simulator to talk to.

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use simulator::{ChangeKind, ChangeRequest, Config, LiveRecord, Platform, RecordType, Simulator};
use url::Url;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Null when the body is not JSON or broke off.
    pub(crate) json: Value,
    /// False when the connection ended before the body did.
    pub(crate) whole: bool,
}

impl Reply {
    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What every call of Patreon carries.
pub(crate) const PATREON: [(&str, &str); 2] =
    [("user-agent", "Test (mirror)"), ("authorization", "Bearer simulated-access-token")];
/// What every call of Discord carries.
pub(crate) const DISCORD: [(&str, &str); 2] = [
    ("user-agent", "DiscordBot (https://example.org, 1.0) Test"),
    ("authorization", "Bot simulated-bot-token"),
];

/// Names and values.
pub(crate) type Headers = &'static [(&'static str, &'static str)];

#[derive(Debug, Clone)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    #[expect(clippy::disallowed_methods, reason = "a test plays the part of the caller")]
    pub(crate) fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        Self(reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "a test plays the part of the caller")]
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await;
        let whole = bytes.is_ok();
        let json = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Reply { status, headers, json: json.unwrap_or_default(), whole }
    }

    /// A call as Klaviyo wants it; `path` may be a whole URL.
    pub(crate) async fn klaviyo(&self, simulator: &Simulator, path: &str) -> Reply {
        let headers = [
            ("authorization", "Klaviyo-API-Key pk_simulated"),
            ("revision", "2026-07-15"),
            ("x-klaviyo-revision-fall-forward-opt-out", "1"),
        ];
        let url = simulator.klaviyo_url.join(path).unwrap();
        self.send(Method::GET, url.as_str(), &headers, None).await
    }

    /// A call as Eventbrite wants it; `path` begins behind `/v3`.
    pub(crate) async fn eventbrite(&self, simulator: &Simulator, path: &str) -> Reply {
        let headers = [("authorization", "Bearer simulated-token")];
        let url = format!("{}{path}", simulator.eventbrite_url);
        self.send(Method::GET, &url, &headers, None).await
    }

    /// A call as Patreon wants it, brackets encoded; `path` begins behind `/api/oauth2`.
    pub(crate) async fn patreon(&self, simulator: &Simulator, path: &str) -> Reply {
        self.patreon_send(simulator, Method::GET, path, None).await
    }

    /// The same with another method and a body.
    pub(crate) async fn patreon_send(
        &self,
        simulator: &Simulator,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Reply {
        let path = path.replace('[', "%5B").replace(']', "%5D");
        let url = format!("{}api/oauth2{path}", simulator.patreon_url);
        self.send(method, &url, &PATREON, body).await
    }

    /// A call as Discord wants it; `path` begins behind `/api/v10`.
    pub(crate) async fn discord(&self, simulator: &Simulator, path: &str) -> Reply {
        self.discord_send(simulator, Method::GET, path, None).await
    }

    /// The same with another method and a body.
    pub(crate) async fn discord_send(
        &self,
        simulator: &Simulator,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Reply {
        let url = format!("{}{path}", simulator.discord_url);
        self.send(method, &url, &DISCORD, body).await
    }

    /// A call of the control API: a POST when there is a body, else a GET.
    pub(crate) async fn control(&self, at: &Url, path: &str, body: Option<&Value>) -> Reply {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        self.send(method, at.join(path).unwrap().as_str(), &[], body).await
    }
}

/// A quiet simulator and a client.
pub(crate) async fn quiet() -> (Simulator, Client) {
    with(|_| {}).await
}

/// A quiet simulator but for what `alter` sets, and a client.
pub(crate) async fn with(alter: impl FnOnce(&mut Config)) -> (Simulator, Client) {
    let mut config = Config::default();
    alter(&mut config);
    (simulator::start(config).await.unwrap(), Client::new())
}

/// A change by hand of one record, of which no webhook tells.
pub(crate) fn silently(
    platform: Platform,
    kind: ChangeKind,
    record_type: RecordType,
    external_id: Option<&str>,
) -> ChangeRequest {
    ChangeRequest {
        platform,
        record_type: Some(record_type),
        external_id: external_id.map(str::to_owned),
        kind,
        notify: false,
    }
}

/// The records of a kind on a platform.
pub(crate) fn records(
    simulator: &Simulator,
    platform: Platform,
    record_type: RecordType,
) -> Vec<LiveRecord> {
    let mut records = simulator.truth().records;
    records.retain(|record| (record.platform, record.record_type) == (platform, record_type));
    records
}

/// The strings under `pointer` in each of the items.
pub(crate) fn texts(items: &Value, pointer: &str) -> Vec<String> {
    let items = items.as_array().expect("an array");
    items.iter().map(|item| item.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
}
