//! `syncline verify-webhook`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use common::platform::{Account, Notice, Platform, Refused, WebhookRequest};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::named;

/// As much as the ingress can be made to take.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// The signature is not the platform's.
const FORGED: u8 = 1;
/// The signature is right, the body is not understood.
const NOT_UNDERSTOOD: u8 = 2;

/// Arguments of `verify-webhook`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The platform that is said to have sent it.
    #[arg(long, value_parser = named::platform)]
    platform: &'static dyn Platform,
    /// The file that holds what the platform signs its webhooks with; one newline at its end does
    /// not belong to it.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The public key of the application in hexadecimal, where the platform signs with a key pair
    /// (Discord).
    #[arg(long, value_name = "HEX", conflicts_with = "secret_file")]
    public_key: Option<String>,
    /// A header of the request, once for each.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Answer as {"notices": [...], "refused": ...}.
    #[arg(long)]
    json: bool,
}

/// Reads the body on standard input and judges it as the ingress would.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let platform = arguments.platform;
    let webhook_secret = match &arguments.public_key {
        Some(key) => Some(key.as_str().into()),
        None => arguments.secret_file.as_deref().map(secret).transpose()?,
    };
    let mut body = Vec::new();
    io::stdin().take(MOST_BYTES + 1).read_to_end(&mut body).context("standard input")?;
    if body.len() as u64 > MOST_BYTES {
        bail!(
            "standard input: longer than {MOST_BYTES} bytes, which is more than any ingress takes"
        );
    }
    let account = Account {
        lane: format!("{}/verify-webhook", platform.name()).parse()?,
        base_url: platform.base_url().parse().context("the platform's own address")?,
        account: String::new(),
        token: SecretString::default().into(),
        webhook_secret,
        consistency: platform.consistency(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.headers {
        headers.append(name.clone(), value.clone());
    }
    let judged = platform.receive(&account, &WebhookRequest { headers: &headers, body: &body });
    Ok(answer(&judged, arguments.json))
}

fn answer(judged: &Result<Vec<Notice>, Refused>, as_json: bool) -> Answer {
    let code = match judged {
        Ok(_) => 0,
        Err(Refused::Forged(_) | Refused::Probe) => FORGED,
        Err(Refused::NotUnderstood(_)) => NOT_UNDERSTOOD,
    };
    if as_json {
        let notice = |notice: &Notice| json!({ "record_type": notice.record_type, "external_id": notice.external_id });
        let notices: Option<Vec<Value>> =
            judged.as_ref().ok().map(|notices| notices.iter().map(notice).collect());
        let refused = judged.as_ref().err().map(ToString::to_string);
        return Answer::json(&json!({ "notices": notices, "refused": refused })).ends_with(code);
    }
    let text = match judged {
        Ok(notices) if notices.is_empty() => "taken; it concerns no record".to_owned(),
        Ok(notices) => {
            let line = |notice: &Notice| format!("{} {}", notice.record_type, notice.external_id);
            notices.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Err(refused) => format!("refused: {refused}"),
    };
    Answer::text(text).ends_with(code)
}

fn secret(path: &Path) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("--secret-file {shown}: check path and owner"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        bail!("--secret-file {shown}: it is empty");
    }
    Ok(secret.into())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as in the request: Name: value")?;
    let name = name.trim().parse().map_err(|_| "that is no name of a header")?;
    let value = value.trim().parse().map_err(|_| "that is no value of a header")?;
    Ok((name, value))
}
