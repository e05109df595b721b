//! `syncline dead-letters`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use common::config::Config;
use common::ids::{ExternalId, Lane, RecordType};
use common::job::{Job, Priority, Task};
use common::queue::RedisQueue;
use common::store::dead_letters::{self, DeadLetter};
use common::store::inbox::{self, Delivery, Source};
use common::store::operations::{self, Operation};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgTransaction;

use crate::answer::Answer;
use crate::connections::instant;
use crate::table::{Column, draw, plain};
use crate::{named, stores, sync};

/// So many letters in one call; what is left comes with the next.
const MOST: usize = 10_000;
/// So many in one transaction.
const AT_ONCE: usize = 500;
/// So many are read at once.
const PAGE: u32 = 1_000;
/// So many operations on a letter's record are told, the latest first.
const HISTORY: u32 = 10;

/// Subcommands of `dead-letters`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// The jobs that were given up, oldest first.
    List(List),
    /// One of them, in full.
    Show {
        /// Its number.
        id: i64,
        /// Answer as an object.
        #[arg(long)]
        json: bool,
    },
    /// Try again, as if a person had asked for the record.
    Replay(Selection),
    /// Forget them. What they would have done is not done.
    Discard(Selection),
}

/// Arguments of `dead-letters list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// The most that are listed.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Answer as a list of objects.
    #[arg(long)]
    json: bool,
}

/// What letters have in common.
#[derive(Args)]
pub(crate) struct Filter {
    /// Only those of one connection: `platform/name`.
    #[arg(long)]
    connection: Option<Lane>,
    /// Only those about records of one type, and scans of it.
    #[arg(long, value_name = "NAME")]
    record_type: Option<String>,
    /// Only those whose last error contains this.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

impl Filter {
    fn takes(&self, letter: &DeadLetter) -> bool {
        let of_type = |wanted: &String| match task(letter) {
            Some(Task::Check { record_type, .. } | Task::Scan { record_type }) => {
                record_type.as_str() == wanted
            }
            Some(Task::Probe) | None => false,
        };
        self.connection.as_ref().is_none_or(|lane| letter.lane == *lane)
            && self.record_type.as_ref().is_none_or(of_type)
            && self.error.as_ref().is_none_or(|text| letter.last_error.contains(text))
    }
}

/// Which letters are meant.
#[derive(Args)]
pub(crate) struct Selection {
    /// Their numbers.
    #[arg(
        value_name = "ID",
        required_unless_present_any = ["all", "connection", "record_type", "error"],
        conflicts_with_all = ["all", "connection", "record_type", "error"]
    )]
    ids: Vec<i64>,
    /// All of them; with filters all that these take.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only say which they are.
    #[arg(long)]
    dry_run: bool,
}

/// Runs one of them.
pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<Answer> {
    let db = stores::postgres(config).await?;
    match command {
        Command::List(arguments) => list(&db, &arguments).await,
        Command::Show { id, json } => show(&db, id, json).await,
        Command::Replay(selection) => replay(config, &db, &selection).await,
        Command::Discard(selection) => discard(&db, &selection).await,
    }
}

async fn list(db: &PgPool, arguments: &List) -> anyhow::Result<Answer> {
    let limit = usize::try_from(arguments.limit).unwrap_or(MOST);
    let (letters, more) = read(db, &arguments.filter, limit).await?;
    let answer = if arguments.json {
        Answer::json(&letters.iter().map(to_json).collect())
    } else {
        Answer::text(to_table(&letters))
    };
    Ok(if more { answer.note("there are more: raise --limit") } else { answer })
}

async fn show(db: &PgPool, id: i64, as_json: bool) -> anyhow::Result<Answer> {
    let letter = find(db, id).await?.with_context(|| no_such(id))?;
    let history = match task(&letter) {
        Some(Task::Check { record_type, external_id }) => {
            operations::history(db, letter.connection, &record_type, &external_id, HISTORY).await?
        }
        _ => Vec::new(),
    };
    if as_json {
        let mut object = to_json(&letter);
        if let Value::Object(fields) = &mut object {
            let history = history.iter().map(operation_to_json).collect();
            fields.insert("history".to_owned(), history);
        }
        return Ok(Answer::json(&object));
    }
    let before: String = history.iter().map(operation_to_line).collect();
    Ok(Answer::text(format!(
        "dead letter  {}\nconnection   {}\njob          {}\npriority     {}\nattempts     {}\nfirst seen   {}\ngiven up     {}\nlast error   {}\ntrace        {}{before}",
        letter.id,
        letter.lane,
        plain(letter.job_id.as_str()),
        letter.priority,
        letter.attempts,
        instant(letter.first_seen),
        instant(letter.died_at),
        plain(&letter.last_error),
        plain(&letter.trace),
    )))
}

/// Takes letters and writes down in the same transaction what is to be done in their place; then
/// enqueues it. What is not enqueued is by the scheduler.
async fn replay(config: &Config, db: &PgPool, selection: &Selection) -> anyhow::Result<Answer> {
    let (letters, more) = select(db, selection).await?;
    // What this version does not know stays where it is.
    let (known, unknown): (Vec<_>, Vec<_>) = letters.into_iter().partition(is_known);
    if selection.dry_run {
        let answer =
            Answer::text(format!("{}\n\n{} would be replayed", to_table(&known), known.len()));
        return Ok(annotate(answer, more, unknown.len()));
    }
    let queue = stores::redis(config).await?;
    let mut replayed = 0;
    let mut late = None;
    for chunk in known.chunks(AT_ONCE) {
        let (count, enqueued) =
            replay_some(config, db, &queue, chunk).await.with_context(|| {
                format!("{replayed} were replayed before this; run the same once more")
            })?;
        replayed += count;
        late = late.or(enqueued.err());
    }
    let answer = annotate(Answer::text(format!("{replayed} replayed")), more, unknown.len());
    Ok(match late {
        Some(error) => answer.note(format!("not all enqueued ({error}): the scheduler will")),
        None => answer,
    })
}

/// Of `letters`, how many were still there and are replayed now, and whether they are enqueued.
async fn replay_some(
    config: &Config,
    db: &PgPool,
    queue: &RedisQueue,
    letters: &[DeadLetter],
) -> anyhow::Result<(usize, Result<(), common::queue::QueueError>)> {
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    let mut tx = db.begin().await?;
    let taken = dead_letters::take(&mut *tx, &ids).await?;
    write_notices(&mut tx, &taken).await?;
    let mut jobs = Vec::new();
    for letter in &taken {
        let Some(task) = task(letter) else { continue };
        let priority = match &task {
            Task::Check { .. } | Task::Probe => Priority::Manual,
            Task::Scan { record_type } => {
                begin_run(config, db, &mut tx, &letter.lane, record_type).await?;
                Priority::Bulk
            }
        };
        jobs.push(Job { lane: letter.lane.clone(), task, priority, trace: letter.trace.clone() });
    }
    tx.commit().await?;
    // One call for each lane.
    jobs.sort_by(|a, b| a.lane.cmp(&b.lane));
    let enqueued = queue.enqueue(&jobs).await.map(drop);
    Ok((taken.len(), enqueued))
}

/// A notice for each record, as a person's request: what makes the replay survive the loss of Redis.
async fn write_notices(tx: &mut PgTransaction<'_>, letters: &[DeadLetter]) -> anyhow::Result<()> {
    let mut by_connection = BTreeMap::<_, Vec<(RecordType, ExternalId)>>::new();
    for letter in letters {
        if let Some(Task::Check { record_type, external_id }) = task(letter) {
            by_connection.entry(letter.connection).or_default().push((record_type, external_id));
        }
    }
    for (connection, notices) in by_connection {
        let delivery = Delivery {
            connection,
            priority: Priority::Manual,
            source: Source::Manual,
            trace: "",
            notices: &notices,
        };
        inbox::accept(&mut **tx, &delivery).await?;
    }
    Ok(())
}

/// The scan goes on with the run that is running; where there is none, one of changes begins.
async fn begin_run(
    config: &Config,
    db: &PgPool,
    tx: &mut PgTransaction<'_>,
    lane: &Lane,
    record_type: &RecordType,
) -> anyhow::Result<()> {
    let kind = named::record_kind(named::platform_of(lane)?, record_type.as_str())?;
    let connection = named::connection(db, lane).await?;
    let overlap = config.scheduler.bulk_overlap;
    sync::begin(tx, &connection, kind, overlap).await?;
    Ok(())
}

async fn discard(db: &PgPool, selection: &Selection) -> anyhow::Result<Answer> {
    let (letters, more) = select(db, selection).await?;
    if selection.dry_run {
        let text = format!("{}\n\n{} would be discarded", to_table(&letters), letters.len());
        return Ok(annotate(Answer::text(text), more, 0));
    }
    let mut discarded = 0;
    for chunk in letters.chunks(AT_ONCE) {
        let ids: Vec<i64> = chunk.iter().map(|letter| letter.id).collect();
        discarded += dead_letters::take(db, &ids).await?.len();
    }
    Ok(annotate(Answer::text(format!("{discarded} discarded")), more, 0))
}

fn annotate(answer: Answer, more: bool, unknown: usize) -> Answer {
    let answer = if more {
        answer.note(format!("there are more than {MOST}: run the same once more"))
    } else {
        answer
    };
    if unknown == 0 {
        return answer;
    }
    answer.note(format!(
        "{unknown} are of a task or a record type that this version does not know: they stay"
    ))
}

/// The letters that are meant, and whether there are more.
async fn select(db: &PgPool, selection: &Selection) -> anyhow::Result<(Vec<DeadLetter>, bool)> {
    if selection.ids.is_empty() {
        return read(db, &selection.filter, MOST).await;
    }
    let mut letters = Vec::new();
    let mut missing = Vec::new();
    for &id in &selection.ids {
        match find(db, id).await? {
            Some(letter) => letters.push(letter),
            None => missing.push(no_such(id)),
        }
    }
    if !missing.is_empty() {
        bail!("nothing was done: {}", missing.join(", "));
    }
    Ok((letters, false))
}

/// Up to `most` letters, oldest first, and whether there are more.
async fn read(
    db: &PgPool,
    filter: &Filter,
    most: usize,
) -> anyhow::Result<(Vec<DeadLetter>, bool)> {
    if let Some(lane) = &filter.connection {
        named::connection(db, lane).await?;
    }
    let mut letters = Vec::new();
    let mut after = 0;
    while letters.len() <= most {
        let page = dead_letters::list(db, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        letters.extend(page.into_iter().filter(|letter| filter.takes(letter)));
    }
    let more = letters.len() > most;
    letters.truncate(most);
    Ok((letters, more))
}

async fn find(db: &PgPool, id: i64) -> anyhow::Result<Option<DeadLetter>> {
    let next = dead_letters::list(db, id.saturating_sub(1), 1).await?;
    Ok(next.into_iter().next().filter(|letter| letter.id == id))
}

fn no_such(id: i64) -> String {
    format!("there is no dead letter {id}")
}

fn task(letter: &DeadLetter) -> Option<Task> {
    Task::try_from(&letter.job_id).ok()
}

/// Whether there can be a job for it.
fn is_known(letter: &DeadLetter) -> bool {
    let Some(Task::Check { record_type, .. } | Task::Scan { record_type }) = task(letter) else {
        return false;
    };
    named::platform_of(&letter.lane)
        .and_then(|platform| named::record_kind(platform, record_type.as_str()))
        .is_ok()
}

fn to_table(letters: &[DeadLetter]) -> String {
    let columns = [
        Column::Number("Id"),
        Column::Text("Connection"),
        Column::Text("Job"),
        Column::Text("Priority"),
        Column::Number("Attempts"),
        Column::Text("Given up"),
        Column::Text("Last error"),
    ];
    let row = |letter: &DeadLetter| {
        [
            letter.id.to_string(),
            letter.lane.to_string(),
            letter.job_id.to_string(),
            letter.priority.to_string(),
            letter.attempts.to_string(),
            instant(letter.died_at),
            letter.last_error.clone(),
        ]
    };
    draw(columns, letters.iter().map(row), "there are no dead letters")
}

fn operation_to_json(operation: &Operation) -> Value {
    json!({ "at": operation.at, "trigger": operation.trigger.as_str(), "outcome": operation.outcome.as_str() })
}

fn operation_to_line(operation: &Operation) -> String {
    let (at, outcome) = (instant(operation.at), operation.outcome);
    format!("\nbefore       {at}  {outcome}, because of a {}", operation.trigger)
}

fn to_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "connection": letter.lane,
        "job": letter.job_id,
        "priority": letter.priority,
        "attempts": letter.attempts,
        "first_seen": letter.first_seen,
        "died_at": letter.died_at,
        "last_error": letter.last_error,
        "trace": letter.trace,
    })
}
