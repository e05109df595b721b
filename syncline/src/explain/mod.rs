//! `syncline explain`: why a record is not looked at.

mod known;
mod told;

use anyhow::{Context, bail};
use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::job::{JobId, Task};
use common::queue::Explained;

use self::known::Known;
use crate::answer::Answer;
use crate::{named, stores};

/// Arguments of `explain`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Whose job: `platform/name`.
    connection: Lane,
    /// A job's id, `profile:01J`, `attendee:88/1`, `scan@profile`; or a record type and an id.
    #[arg(required = true, num_args = 1..=2, value_name = "JOB")]
    job: Vec<String>,
    /// Answer as one object.
    #[arg(long)]
    json: bool,
}

/// Asks both stores. What Postgres knows is told without Redis too.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let task = task(&arguments.job)?;
    let platform = named::platform_of(lane)?;
    if let Some(record_type) = task.record_type() {
        named::record_kind(platform, record_type.as_str())?;
    }
    let db = stores::postgres(config).await?;
    let known = Known::of(&db, named::connection(&db, lane).await?, &task).await?;
    let waiting = in_queue(config, lane, &task.job_id()).await;
    let explained = waiting.as_ref().ok();
    let answer = if arguments.json {
        Answer::json(&told::to_json(&task.job_id(), explained, &known))
    } else {
        Answer::text(told::to_table(explained, &known))
    };
    Ok(match waiting {
        Ok(_) => answer,
        Err(error) => answer.note(format!("Redis did not say how the job stands: {error:#}")),
    })
}

async fn in_queue(config: &Config, lane: &Lane, job: &JobId) -> anyhow::Result<Explained> {
    let queue = stores::redis(config).await?;
    Ok(queue.explain(lane, job).await?)
}

fn task(words: &[String]) -> anyhow::Result<Task> {
    let id = words.join(":");
    if words.iter().any(|word| word.trim().is_empty()) {
        bail!("an id is empty: name records as the platform does");
    }
    id.parse::<Task>().with_context(|| format!("syncline explain LANE {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_its_id_or_by_its_record() {
        let of = |words: &[&str]| task(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["profile:01J"]).unwrap(), of(&["profile", "01J"]).unwrap());
        assert_eq!(of(&["attendee", "88/1"]).unwrap().job_id().as_str(), "attendee:88/1");
        assert!(matches!(of(&["scan@profile"]), Ok(Task::Scan { .. })));
        for bad in [&["profile"][..], &["profile", ""], &[" "]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
