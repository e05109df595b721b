//! No request too many, and next to none too few: 64 clients in four processes in front of a vendor
//! that counts strictly. docs/quota-proof.md says what is run and shows the figures.

mod processes {
    use std::time::Duration;

    use tests::vendor::counter::Rule;
    use tests::vendor::plan::{Demand, Scheme, Trial};
    use tests::vendor::platforms::{self, Platform};
    use tests::vendor::table;
    use tests::vendor::trial::{self, Outcome};

    /// How long a trial goes on.
    #[derive(Clone, Copy)]
    struct Span {
        measured_from: Duration,
        length: Duration,
    }

    fn is_long() -> bool {
        std::env::var_os("SYNCLINE_LONG_TESTS").is_some_and(|value| value == "1")
    }

    fn trial_of(
        platform: &Platform,
        span: Span,
        (scheme, demand, rule): (Scheme, Demand, Rule),
    ) -> Trial {
        Trial {
            platform: platform.name.clone(),
            quotas: platform.quotas.clone(),
            scheme,
            demand,
            rule,
            tells: platform.tells,
            measured_from: span.measured_from,
            length: span.length,
            seed: 1,
        }
    }

    /// Every demand before every kind of vendor, and the plain schemes beside it.
    const ALL: [(Scheme, Demand, Rule); 8] = [
        (Scheme::Ours, Demand::Backlog, Rule::SlidingLog),
        (Scheme::Ours, Demand::OnOff, Rule::SlidingLog),
        (Scheme::Ours, Demand::Backlog, Rule::FixedWindows),
        (Scheme::Ours, Demand::OnOff, Rule::FixedWindows),
        (Scheme::TokenBucket, Demand::Backlog, Rule::SlidingLog),
        (Scheme::TokenBucket, Demand::OnOff, Rule::SlidingLog),
        (Scheme::GrantLog, Demand::Backlog, Rule::SlidingLog),
        (Scheme::GrantLog, Demand::OnOff, Rule::SlidingLog),
    ];
    /// The least that shows the same: vendors count by both rules, whichever they refuse by.
    const OURS: [(Scheme, Demand, Rule); 2] = [
        (Scheme::Ours, Demand::Backlog, Rule::SlidingLog),
        (Scheme::Ours, Demand::OnOff, Rule::FixedWindows),
    ];
    const PLAIN: [(Scheme, Demand, Rule); 2] = [
        (Scheme::TokenBucket, Demand::Backlog, Rule::SlidingLog),
        (Scheme::GrantLog, Demand::Backlog, Rule::SlidingLog),
    ];

    /// Ours is never refused and uses at least the `least` share of a limit under a backlog; what is
    /// usual is refused, or this proves nothing.
    fn check(outcomes: &[Outcome], least: impl Fn(&Outcome) -> f64) {
        eprintln!("{}\n{}", table::table(outcomes), table::json_lines(outcomes).unwrap());
        let (ours, plain): (Vec<_>, Vec<_>) =
            outcomes.iter().partition(|outcome| outcome.scheme == Scheme::Ours);
        for outcome in ours {
            let name = format!("{}, {}", outcome.platform, outcome.demand.name());
            assert_eq!(outcome.refused(), 0, "{name}: refused");
            assert_eq!(outcome.clients.failed, 0, "{name}: failed");
            for (most, limit) in &outcome.most {
                assert!(most <= limit, "{name}: {most} of {limit} in a window");
            }
            if outcome.demand == Demand::Backlog {
                let least = least(outcome);
                assert!(outcome.used >= least, "{name}: used {} of {least}", outcome.used);
            }
        }
        assert!(plain.iter().any(|outcome| outcome.refused() > 0), "the vendor refuses nobody");
    }

    /// What theory allows, less what a busy machine may take.
    fn theory(outcome: &Outcome) -> f64 {
        outcome.usable - 0.08
    }

    #[tokio::test]
    async fn no_request_is_one_too_many_for_a_window_of_a_minute_or_longer() -> anyhow::Result<()> {
        if is_long() {
            let mut outcomes = Vec::new();
            for platform in platforms::minutes() {
                let window = platform.quotas.iter().map(|q| q.window).max().unwrap();
                // Whole windows: a part of one may be used more or less than its share.
                let span = Span { measured_from: window, length: window * 3 };
                outcomes.extend(
                    trial::run(&ALL.map(|combination| trial_of(&platform, span, combination)))
                        .await?,
                );
            }
            check(&outcomes, |_| 0.99);
            return Ok(());
        }
        // The second window shows what the first one left of it.
        let window = Duration::from_secs(10);
        let span = Span { measured_from: window, length: window * 2 };
        let mut trials = Vec::new();
        for platform in platforms::minutes_reduced() {
            trials.extend(OURS.map(|combination| trial_of(&platform, span, combination)));
            if platform.name.starts_with("Patreon") {
                trials.extend(PLAIN.map(|combination| trial_of(&platform, span, combination)));
            }
        }
        check(&trial::run(&trials).await?, theory);
        Ok(())
    }

    #[tokio::test]
    async fn no_request_is_one_too_many_for_a_window_of_a_second() -> anyhow::Result<()> {
        let second = Duration::from_secs(1);
        let mut outcomes = Vec::new();
        for platform in platforms::seconds() {
            if is_long() {
                let span = Span { measured_from: second * 5, length: second * 65 };
                // In two halves: this many clients are as much as two cores carry.
                for half in ALL.chunks(4) {
                    let trials: Vec<Trial> =
                        half.iter().map(|&c| trial_of(&platform, span, c)).collect();
                    outcomes.extend(trial::run(&trials).await?);
                }
            } else {
                let span = Span { measured_from: second, length: second * 9 };
                let trials: Vec<Trial> =
                    OURS.iter().chain(&PLAIN).map(|&c| trial_of(&platform, span, c)).collect();
                outcomes.extend(trial::run(&trials).await?);
            }
        }
        check(&outcomes, |outcome| if is_long() { 0.85 } else { theory(outcome) });
        Ok(())
    }
}
