//! The configuration of the demo's fleet.
//!
//! The quotas are the defaults of the project, with one exception: Eventbrite's hour is scaled to
//! ten seconds, in the platform and in the fleet alike. The arithmetic is the same.

use simulator::Platform;

pub(super) const SETTINGS: &str = r#"
[worker]
lease = "10s"
heartbeat = "2s"
missing_confirm_after = "500ms"
[api]
whole_timeout = "10s"
read_timeout = "10s"
[ingress]
leave = "0s"
[console]
leave = "0s"
[scheduler]
tick = "500ms"
sweep_every = "2s"
spot_check_horizon = "10s"
spot_check_min_age = "4s"
repairs_per_hour = 1000
bulk_overlap = "5s"
"#;

/// The connections, each with its keys.
pub(super) const CONNECTIONS: [(Platform, &str); 4] = [
    (
        Platform::Klaviyo,
        r#"
quotas.burst = { limit = 75, window = "1s" }
quotas.steady = { limit = 500, window = "1m" }
schedules = [
  { record_type = "profile", mode = "changes", cron = "*/10 * * * * *" },
  { record_type = "profile", mode = "full", cron = "*/30 * * * * *" },
  { record_type = "list", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "list-membership", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "event", mode = "changes", cron = "*/15 * * * * *" },
]
"#,
    ),
    (
        Platform::Eventbrite,
        r#"
quotas.hour = { limit = 200, window = "10s" }
confirm_after = ["2500ms"]
young = "5s"
schedules = [
  { record_type = "event", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "attendee", mode = "full", cron = "*/30 * * * * *" },
  { record_type = "order", mode = "full", cron = "*/30 * * * * *" },
]
"#,
    ),
    (
        Platform::Patreon,
        r#"
schedules = [
  { record_type = "campaign", mode = "full", cron = "*/30 * * * * *" },
  { record_type = "member", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "tier", mode = "full", cron = "*/20 * * * * *" },
]
"#,
    ),
    (
        Platform::Discord,
        r#"
confirm_after = ["2500ms"]
young = "5s"
schedules = [
  { record_type = "guild", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "member", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "role", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "entitlement", mode = "full", cron = "*/20 * * * * *" },
]
"#,
    ),
];

/// How many record types are scanned in full.
pub(super) fn full_scans() -> usize {
    CONNECTIONS.iter().map(|(_, keys)| keys.matches(r#"mode = "full""#).count()).sum()
}
