//! Runs the simulated platforms until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde_json::{Value, json};
use simulator::{Config, Credential, Platform};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Simulated Klaviyo, Eventbrite, Patreon and Discord. Prints one line of JSON with their
/// addresses, then serves.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// JSON file with settings that differ from the quiet default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Universe file: the same file makes the same records and the same history.
    #[arg(long, conflicts_with = "config")]
    universe: Option<PathBuf>,
    /// Start from the lively preset: changes, losses, delays and late reads.
    #[arg(long, conflicts_with_all = ["config", "universe"])]
    lively: bool,
    /// Settings as JSON, laid over the file or preset.
    #[arg(long, value_parser = json_of)]
    with: Option<Value>,
    /// Platforms that hold records; the others stand there empty. All when not given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Platform>,
    /// Writes the universe to a file, for another run of the same.
    #[arg(long)]
    write_universe: Option<PathBuf>,
    /// Ends after that, serving nothing.
    #[arg(long, requires = "write_universe")]
    write_only: bool,
    /// Seed of all chance.
    #[arg(long)]
    seed: Option<u64>,
    /// Where Klaviyo listens; port 0 takes a free one.
    #[arg(long)]
    klaviyo_listen: Option<SocketAddr>,
    /// Where Eventbrite listens; port 0 takes a free one.
    #[arg(long)]
    eventbrite_listen: Option<SocketAddr>,
    /// Where Patreon listens; port 0 takes a free one.
    #[arg(long)]
    patreon_listen: Option<SocketAddr>,
    /// Where Discord listens; port 0 takes a free one.
    #[arg(long)]
    discord_listen: Option<SocketAddr>,
    /// Where the control API listens; port 0 takes a free one.
    #[arg(long)]
    control_listen: Option<SocketAddr>,
    /// Where Klaviyo's webhooks go.
    #[arg(long)]
    klaviyo_webhook_target: Option<Url>,
    /// Where Eventbrite's webhooks go.
    #[arg(long)]
    eventbrite_webhook_target: Option<Url>,
    /// Where Patreon's webhooks go.
    #[arg(long)]
    patreon_webhook_target: Option<Url>,
    /// Where Discord's webhook events go.
    #[arg(long)]
    discord_webhook_target: Option<Url>,
    /// Where the bridge to Discord's gateway posts.
    #[arg(long)]
    discord_bridge_target: Option<Url>,
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
        let mut config = match self.config.as_ref().or(self.universe.as_ref()) {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{} is not a configuration", path.display()))?
            }
            None if self.lively => Config::lively(Config::default().seed),
            None => Config::default(),
        };
        if let Some(over) = &self.with {
            config = config.with(over).context("--with has no such settings")?;
        }
        if !self.only.is_empty() {
            config = config.only(&self.only);
        }
        let Config { klaviyo, eventbrite, patreon, discord, .. } = &mut config;
        set(&mut klaviyo.account.listen, self.klaviyo_listen);
        set(&mut eventbrite.account.listen, self.eventbrite_listen);
        set(&mut patreon.account.listen, self.patreon_listen);
        set(&mut discord.account.listen, self.discord_listen);
        set(&mut klaviyo.account.webhooks.target, self.klaviyo_webhook_target.map(Some));
        set(&mut eventbrite.account.webhooks.target, self.eventbrite_webhook_target.map(Some));
        set(&mut patreon.account.webhooks.target, self.patreon_webhook_target.map(Some));
        set(&mut discord.account.webhooks.target, self.discord_webhook_target.map(Some));
        set(&mut discord.bridge_target, self.discord_bridge_target.map(Some));
        set(&mut klaviyo.api_key, self.klaviyo_api_key.map(Credential));
        set(&mut klaviyo.webhook_secret, self.klaviyo_webhook_secret.map(Credential));
        set(&mut eventbrite.token, self.eventbrite_token.map(Credential));
        set(&mut config.seed, self.seed);
        set(&mut config.control_listen, self.control_listen);
        Ok(config)
    }
}

fn json_of(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text)
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
    let arguments = Arguments::parse();
    let (file, write_only) = (arguments.write_universe.clone(), arguments.write_only);
    let config = arguments.config()?;
    if let Some(path) = file {
        std::fs::write(&path, serde_json::to_string_pretty(&config)?)
            .with_context(|| format!("could not write {}", path.display()))?;
        if write_only {
            return Ok(());
        }
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = simulator::start(config).await?;
    let addresses = json!({
        "klaviyo_url": simulator.klaviyo_url,
        "eventbrite_url": simulator.eventbrite_url,
        "patreon_url": simulator.patreon_url,
        "discord_url": simulator.discord_url,
        "discord_public_key": simulator.discord_public_key(),
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
