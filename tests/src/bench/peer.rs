//! Another queue's driver, run beside ours: a command that prints one line of JSON.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::ground;

/// How much of a failed driver's complaint is shown, in characters.
const COMPLAINT_MAX: usize = 1_000;

/// A driver, and the Redis that is its own.
#[derive(Clone, Debug)]
pub struct Peer {
    /// For a shell.
    pub command: String,
    /// Goes to the driver as `REDIS_URL`.
    pub redis_url: String,
}

/// What a driver has measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Measured {
    /// What it drove, for the table.
    pub name: Option<String>,
    /// Enqueue + run + ack, a handler that does nothing, one worker process.
    pub jobs_per_s: f64,
    /// Processor time of Redis for one job, in microseconds.
    pub redis_cpu_us_per_job: Option<f64>,
    /// Memory of Redis for one waiting job.
    pub bytes_per_job: Option<f64>,
}

/// Why a driver has measured nothing.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Its Redis cannot be emptied before it.
    #[error("the peer's Redis: {0}")]
    Redis(redis::RedisError),
    /// No shell.
    #[error("the peer's driver cannot be started: {0}")]
    Start(std::io::Error),
    /// It takes too long.
    #[error("the peer's driver has not ended within {0:?}")]
    TimedOut(Duration),
    /// It failed.
    #[error("the peer's driver failed ({status}): {complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        complaint: String,
    },
    /// It printed nothing.
    #[error("the peer's driver printed nothing: one line of JSON with jobs_per_s is wanted")]
    Silent,
    /// It printed something else.
    #[error("the peer's driver printed {line:?} last, which is not the line wanted: {error}")]
    Line {
        /// As it came.
        line: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// A number that cannot be one.
    #[error("the peer's driver says {name} is {value}: a number above 0 is wanted")]
    Number {
        /// The key.
        name: &'static str,
        /// As it came.
        value: f64,
    },
}

impl Peer {
    /// Runs the driver once on an empty Redis.
    ///
    /// # Errors
    ///
    /// [`PeerError`].
    pub async fn run(&self, jobs: u64, patience: Duration) -> Result<Measured, PeerError> {
        let mut redis = ground::connect(&self.redis_url).await.map_err(PeerError::Redis)?;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.map_err(PeerError::Redis)?;
        drive(&self.command, &self.redis_url, jobs, patience).await
    }
}

async fn drive(
    command: &str,
    redis_url: &str,
    jobs: u64,
    patience: Duration,
) -> Result<Measured, PeerError> {
    let mut driver = Command::new("sh");
    driver
        .args(["-c", command])
        .env("REDIS_URL", redis_url)
        .env("JOBS", jobs.to_string())
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let running = driver.spawn().map_err(PeerError::Start)?.wait_with_output();
    let output = timeout(patience, running)
        .await
        .map_err(|_| PeerError::TimedOut(patience))?
        .map_err(PeerError::Start)?;
    if !output.status.success() {
        let complaint = last_of(&String::from_utf8_lossy(&output.stderr));
        return Err(PeerError::Failed { status: output.status, complaint });
    }
    read(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the last line that is not empty.
fn read(printed: &str) -> Result<Measured, PeerError> {
    let line = printed.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let line = line.ok_or(PeerError::Silent)?;
    let measured: Measured = serde_json::from_str(line)
        .map_err(|error| PeerError::Line { line: last_of(line), error })?;
    let numbers = [
        ("jobs_per_s", Some(measured.jobs_per_s)),
        ("redis_cpu_us_per_job", measured.redis_cpu_us_per_job),
        ("bytes_per_job", measured.bytes_per_job),
    ];
    for (name, value) in numbers {
        if let Some(value) = value
            && !(value.is_finite() && value > 0.0)
        {
            return Err(PeerError::Number { name, value });
        }
    }
    Ok(measured)
}

fn last_of(text: &str) -> String {
    let text = text.trim();
    let surplus = text.chars().count().saturating_sub(COMPLAINT_MAX);
    text.chars().skip(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(command: &str) -> Result<Measured, String> {
        let driven = drive(command, "redis://127.0.0.1:1", 7, Duration::from_mins(1)).await;
        driven.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_driver_is_told_where_and_how_many_and_its_last_line_counts() {
        let script = r#"echo starting; echo "{\"name\": \"$REDIS_URL\", \"jobs_per_s\": $JOBS}""#;
        let measured = told(script).await.unwrap();
        assert_eq!(measured.name.as_deref(), Some("redis://127.0.0.1:1"));
        assert!((measured.jobs_per_s - 7.0).abs() < f64::EPSILON);
        assert_eq!(measured.bytes_per_job, None);
    }

    #[tokio::test]
    async fn a_driver_that_fails_is_quoted() {
        let error = told("echo 'no such queue' >&2; exit 3").await.unwrap_err();
        assert!(error.contains("exit status: 3") && error.contains("no such queue"), "{error}");
    }

    #[tokio::test]
    async fn a_driver_that_does_not_end_is_ended() {
        let driven = drive("exec sleep 1000", "redis://127.0.0.1:1", 7, Duration::ZERO).await;
        assert!(matches!(driven, Err(PeerError::TimedOut(Duration::ZERO))), "{driven:?}");
    }

    #[test]
    fn a_line_that_says_nothing_useful_is_named() {
        let error = |printed: &str| read(printed).unwrap_err().to_string();
        assert!(error("").contains("printed nothing"));
        assert!(error("\n \n").contains("printed nothing"));
        assert!(error("fast\n").contains("\"fast\""));
        assert!(error(r#"{"name": "slow"}"#).contains("jobs_per_s"));
        assert!(error(r#"{"jobs_per_s": "many"}"#).contains("invalid type"));
        assert!(error(r#"{"jobs_per_s": 0}"#).contains("jobs_per_s is 0"));
        assert!(error(r#"{"jobs_per_s": 1, "bytes_per_job": -1}"#).contains("bytes_per_job is -1"));
    }
}
