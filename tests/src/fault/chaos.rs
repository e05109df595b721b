//! `cargo xtask chaos`: blows from a seeded schedule under load, and the ledger at the end.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use simulator::{Fault, Hits, Platform};
use sqlx::AssertSqlSafe;

use super::{Crew, Member};

/// Breaks things at random under load and says whether anything was lost.
#[derive(Debug, Parser)]
#[command(name = "syncline-chaos", version)]
pub struct Arguments {
    /// How long the blows go on.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The same seed plans the same blows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What fails on every attempt is given up, and that is no loss: here nothing is. And nobody waits
/// long for a process that stops while a store is silent.
const SETTINGS: &str = r#"
[worker]
max_attempts = 100
drain = "3s"
[ingress]
request_timeout = "3s"
drain = "3s"
"#;

impl Arguments {
    /// What will be done.
    pub fn plan(&self) -> Vec<Planned> {
        plan(self.seed, self.seconds)
    }
}

/// What is done to the fleet for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL; another one starts afterwards.
    Kill(Member),
    /// SIGSTOP, and SIGCONT afterwards.
    Freeze(Member),
    /// SIGTERM; another one starts afterwards.
    Replace(Member),
    /// FLUSHALL.
    FlushRedis,
    /// SIGKILL; comes back empty afterwards.
    KillRedis,
    /// Connections break, and new ones too.
    CutRedis,
    /// Nothing is heard from it.
    SilenceRedis,
    /// Each piece takes longer.
    SlowRedis,
    /// SIGKILL; recovers afterwards.
    KillPostgres,
    /// Connections break, and new ones too.
    CutPostgres,
    /// Nothing is heard from it.
    SilencePostgres,
    /// Each piece takes longer.
    SlowPostgres,
    /// Writes are refused, as when a disk is full.
    FillPostgres,
    /// Most answers are 503, or come too late.
    FailPlatform(Platform),
    /// Most answers are 429.
    RefusePlatform(Platform),
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(member) => write!(f, "kill {member}"),
            Self::Freeze(member) => write!(f, "freeze {member}"),
            Self::Replace(member) => write!(f, "replace {member}"),
            Self::FlushRedis => f.write_str("flush Redis"),
            Self::KillRedis => f.write_str("kill Redis"),
            Self::CutRedis => f.write_str("cut Redis off"),
            Self::SilenceRedis => f.write_str("silence Redis"),
            Self::SlowRedis => f.write_str("slow Redis"),
            Self::KillPostgres => f.write_str("kill Postgres"),
            Self::CutPostgres => f.write_str("cut Postgres off"),
            Self::SilencePostgres => f.write_str("silence Postgres"),
            Self::SlowPostgres => f.write_str("slow Postgres"),
            Self::FillPostgres => f.write_str("fill the disk of Postgres"),
            Self::FailPlatform(platform) => write!(f, "fail {}", platform.name()),
            Self::RefusePlatform(platform) => write!(f, "refuse at {}", platform.name()),
        }
    }
}

/// One or two blows at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// From the end of the one before.
    after: Duration,
    blows: Vec<Blow>,
    length: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blows: Vec<String> = self.blows.iter().map(Blow::to_string).collect();
        let (after, length) = (self.after.as_secs_f64(), self.length.as_secs_f64());
        write!(f, "after {after:.1} s, for {length:.1} s: {}", blows.join(" and "))
    }
}

/// What is done in so many seconds. The same seed plans the same.
pub fn plan(seed: u64, seconds: u64) -> Vec<Planned> {
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut planned, mut left) = (Vec::new(), Duration::from_secs(seconds));
    loop {
        let after = Duration::from_millis(chance.random_range(100..900));
        let length = Duration::from_millis(chance.random_range(100..2_800));
        let Some(rest) = left.checked_sub(after + length) else { return planned };
        left = rest;
        let mut blows = vec![blow(&mut chance)];
        if chance.random_bool(0.4) {
            let second = blow(&mut chance);
            // The two must not undo each other.
            blows.extend((!blows.iter().any(|first| second.hits_what(*first))).then_some(second));
        }
        planned.push(Planned { after, blows, length });
    }
}

fn blow(chance: &mut StdRng) -> Blow {
    let member = Member::ALL.choose(chance).copied().unwrap_or(Member::Ingress);
    let platform = if chance.random_bool(0.5) { Platform::Klaviyo } else { Platform::Eventbrite };
    match chance.random_range(0..18) {
        0..=2 => Blow::Kill(member),
        3 | 4 => Blow::Freeze(member),
        5 => Blow::Replace(member),
        6 => Blow::FlushRedis,
        7 => Blow::KillRedis,
        8 => Blow::CutRedis,
        9 => Blow::SilenceRedis,
        10 => Blow::SlowRedis,
        11 => Blow::KillPostgres,
        12 => Blow::CutPostgres,
        13 => Blow::SilencePostgres,
        14 => Blow::SlowPostgres,
        15 => Blow::FillPostgres,
        16 => Blow::FailPlatform(platform),
        _ => Blow::RefusePlatform(platform),
    }
}

/// What a blow falls on.
#[derive(PartialEq, Eq)]
enum Target {
    Member(Member),
    Redis,
    Postgres,
    Platform(Platform),
}

impl Blow {
    fn target(self) -> Target {
        match self {
            Self::Kill(member) | Self::Freeze(member) | Self::Replace(member) => {
                Target::Member(member)
            }
            Self::FlushRedis
            | Self::KillRedis
            | Self::CutRedis
            | Self::SilenceRedis
            | Self::SlowRedis => Target::Redis,
            Self::KillPostgres
            | Self::CutPostgres
            | Self::SilencePostgres
            | Self::SlowPostgres
            | Self::FillPostgres => Target::Postgres,
            Self::FailPlatform(platform) | Self::RefusePlatform(platform) => {
                Target::Platform(platform)
            }
        }
    }

    fn hits_what(self, other: Self) -> bool {
        self.target() == other.target()
    }

    async fn begin(self, crew: &mut Crew) -> anyhow::Result<()> {
        let slow = Duration::from_millis(30);
        match self {
            Self::Kill(member) => crew.kill(member).await?,
            Self::Freeze(member) => crew.member(member)?.signal("STOP").await?,
            Self::Replace(member) => {
                let status = crew.stop(member).await?;
                anyhow::ensure!(status.success(), "{member} ended with {status}");
            }
            Self::FlushRedis => crew.redis.flush_all().await?,
            Self::KillRedis => crew.redis.kill().await?,
            Self::CutRedis => crew.to_redis.shut(),
            Self::SilenceRedis => crew.to_redis.silence(),
            Self::SlowRedis => crew.to_redis.slow(slow),
            Self::KillPostgres => crew.kill_postgres()?,
            Self::CutPostgres => crew.to_postgres.shut(),
            Self::SilencePostgres => crew.to_postgres.silence(),
            Self::SlowPostgres => crew.to_postgres.slow(slow),
            Self::FillPostgres => crew.refuse_writes(true).await?,
            Self::FailPlatform(platform) => {
                let away = Fault::Status { status: 503, retry_after: None };
                crew.scene.platforms.fault(platform, away, Hits::Share(0.5));
                crew.scene.platforms.fault(platform, Fault::Slow { ms: 1_500 }, Hits::Share(0.5));
            }
            Self::RefusePlatform(platform) => {
                let refused = Fault::Status { status: 429, retry_after: Some(1) };
                crew.scene.platforms.fault(platform, refused, Hits::Share(0.8));
            }
        }
        Ok(())
    }

    async fn end(self, crew: &mut Crew) -> anyhow::Result<()> {
        match self {
            Self::Kill(member) | Self::Replace(member) => crew.begin(member)?,
            Self::Freeze(member) => crew.member(member)?.signal("CONT").await?,
            Self::FlushRedis => {}
            Self::KillRedis => crew.redis.start_again().await?,
            Self::CutRedis | Self::SilenceRedis | Self::SlowRedis => crew.to_redis.open(),
            Self::KillPostgres => crew.start_postgres_again().await?,
            Self::CutPostgres | Self::SilencePostgres | Self::SlowPostgres => {
                crew.to_postgres.open();
            }
            Self::FillPostgres => crew.refuse_writes(false).await?,
            Self::FailPlatform(platform) | Self::RefusePlatform(platform) => {
                crew.scene.platforms.clear_faults(platform);
            }
        }
        Ok(())
    }
}

/// Breaks things for as long as asked and says what came of it.
///
/// # Errors
///
/// When something cannot be started, a process ends by itself, or the ledger does not balance; the
/// error says what is wrong.
pub async fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let mut crew = Crew::start_on_own_postgres(SETTINGS).await?;
    crew.supervise();
    for planned in arguments.plan() {
        deal(&mut crew, &planned).await.with_context(|| planned.to_string())?;
    }
    let took = crew.recovers("chaos").await?;
    Ok(format!(
        "lost 0, applied twice 0, over quota 0, after {} changes; all true after {:.1} s; {} times a \
         process could not start and was started again",
        crew.changes(),
        took.as_secs_f64(),
        crew.restarts()
    ))
}

async fn deal(crew: &mut Crew, planned: &Planned) -> anyhow::Result<()> {
    crew.busy(planned.after).await?;
    for blow in &planned.blows {
        blow.begin(crew).await?;
    }
    crew.busy(planned.length).await?;
    for blow in &planned.blows {
        blow.end(crew).await?;
    }
    Ok(())
}

impl Crew {
    /// Has Postgres refuse all writes of the fleet, as with a full disk, or take them again.
    ///
    /// # Errors
    ///
    /// When Postgres is away.
    pub async fn refuse_writes(&mut self, refuse: bool) -> anyhow::Result<()> {
        let setting = "default_transaction_read_only";
        let mut session = self.scene.db.acquire().await?;
        // Whatever it began with.
        sqlx::query("set default_transaction_read_only = off").execute(&mut *session).await?;
        let name: String =
            sqlx::query_scalar("select current_database()").fetch_one(&mut *session).await?;
        let statement = if refuse {
            format!(r#"alter database "{name}" set {setting} = on"#)
        } else {
            format!(r#"alter database "{name}" reset {setting}"#)
        };
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *session).await?;
        // Every session of the fleet begins anew with it.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and pid <> pg_backend_pid()
                and application_name = 'syncline'",
        )
        .execute(&mut *session)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_plans_the_same_blows_every_time_and_another_seed_others() {
        assert_eq!(plan(7, 60), plan(7, 60));
        assert_ne!(plan(7, 60), plan(8, 60));
    }

    #[test]
    fn a_plan_fits_into_its_time_and_never_strikes_the_same_twice_at_once() {
        for seed in 0..200 {
            let plan = plan(seed, 30);
            let length: Duration = plan.iter().map(|planned| planned.after + planned.length).sum();
            assert!(length <= Duration::from_secs(30) && plan.len() > 3, "seed {seed}: {length:?}");
            for planned in plan {
                if let [first, second] = planned.blows[..] {
                    assert!(!first.hits_what(second), "seed {seed}: {planned}");
                }
            }
        }
    }
}
