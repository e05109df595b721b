//! Runs the simulated platforms until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use simulator::{Config, Credential};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Simulated Klaviyo and Eventbrite. Prints one line of JSON with their addresses, then serves.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// JSON file with settings that differ from the quiet default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Start from the lively preset: changes, losses, delays and late reads.
    #[arg(long, conflicts_with = "config")]
    lively: bool,
    /// Seed of all chance.
    #[arg(long)]
    seed: Option<u64>,
    /// Where Klaviyo listens; port 0 takes a free one.
    #[arg(long)]
    klaviyo_listen: Option<SocketAddr>,
    /// Where Eventbrite listens; port 0 takes a free one.
    #[arg(long)]
    eventbrite_listen: Option<SocketAddr>,
    /// Where the control API listens; port 0 takes a free one.
    #[arg(long)]
    control_listen: Option<SocketAddr>,
    /// Where Klaviyo's webhooks go.
    #[arg(long)]
    klaviyo_webhook_target: Option<Url>,
    /// Where Eventbrite's webhooks go.
    #[arg(long)]
    eventbrite_webhook_target: Option<Url>,
    /// Klaviyo's private API key.
    #[arg(long, env = "SIMULATOR_KLAVIYO_API_KEY", hide_env_values = true)]
    klaviyo_api_key: Option<String>,
    /// The key that signs Klaviyo's webhooks.
    #[arg(long, env = "SIMULATOR_KLAVIYO_WEBHOOK_SECRET", hide_env_values = true)]
    klaviyo_webhook_secret: Option<String>,
    /// Eventbrite's private token.
    #[arg(long, env = "SIMULATOR_EVENTBRITE_TOKEN", hide_env_values = true)]
    eventbrite_token: Option<String>,
}

impl Arguments {
    /// The file or preset, overridden by the flags.
    fn config(self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{} is not a configuration", path.display()))?
            }
            None if self.lively => Config::lively(Config::default().seed),
            None => Config::default(),
        };
        let Config { klaviyo, eventbrite, .. } = &mut config;
        set(&mut klaviyo.account.listen, self.klaviyo_listen);
        set(&mut eventbrite.account.listen, self.eventbrite_listen);
        set(&mut klaviyo.account.webhooks.target, self.klaviyo_webhook_target.map(Some));
        set(&mut eventbrite.account.webhooks.target, self.eventbrite_webhook_target.map(Some));
        set(&mut klaviyo.api_key, self.klaviyo_api_key.map(Credential));
        set(&mut klaviyo.webhook_secret, self.klaviyo_webhook_secret.map(Credential));
        set(&mut eventbrite.token, self.eventbrite_token.map(Credential));
        set(&mut config.seed, self.seed);
        set(&mut config.control_listen, self.control_listen);
        Ok(config)
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let config = Arguments::parse().config()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = simulator::start(config).await?;
    let addresses = json!({
        "klaviyo_url": simulator.klaviyo_url,
        "eventbrite_url": simulator.eventbrite_url,
        "control_url": simulator.control_url,
    });
    writeln!(std::io::stdout(), "{addresses}")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}
