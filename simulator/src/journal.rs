//! Which requests came and which records they were about.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::answer::{Answer, Asked};
use crate::record::{Platform, RecordId};

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRow {
    /// When its answer was ready; a gate may have held it longer.
    pub at: Timestamp,
    /// At which platform.
    pub platform: Platform,
    /// `GET`, `PATCH`.
    pub method: String,
    /// The path with `{id}` for ids; `unknown` for paths that are not the platform's.
    pub template: &'static str,
    /// The path as it came, without the query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// The fault that was injected, if one was.
    pub fault: Option<&'static str>,
}

/// How often requests were about a record, whatever they were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Fetches {
    /// Requests for this record by its own path.
    pub alone: u64,
    /// Requests that named it in a filter by ids.
    pub by_filter: u64,
    /// Pages of lists in which it stood.
    pub in_page: u64,
}

impl Fetches {
    /// Requests made for this record's sake: alone or by filter.
    pub fn asked_for(&self) -> u64 {
        self.alone + self.by_filter
    }
}

/// Requests by template and status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestCount {
    /// The path with `{id}` for ids.
    pub template: &'static str,
    /// Status of the answers.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// Ids for which fetches are counted; more are forgotten, so that guessed ids use no memory.
const COUNTED_RECORDS: usize = 200_000;

/// The requests to one account.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    keep: usize,
    rows: VecDeque<RequestRow>,
    counts: BTreeMap<(&'static str, u16), u64>,
    fetches: BTreeMap<RecordId, Fetches>,
}

impl Journal {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    pub(crate) fn enter(&mut self, row: RequestRow, answer: &Answer) {
        *self.counts.entry((row.template, row.status)).or_default() += 1;
        for (id, asked) in &answer.records {
            if self.fetches.len() >= COUNTED_RECORDS && !self.fetches.contains_key(id) {
                continue;
            }
            let fetches = self.fetches.entry(id.clone()).or_default();
            match asked {
                Asked::Alone => fetches.alone += 1,
                Asked::ByFilter => fetches.by_filter += 1,
                Asked::InPage => fetches.in_page += 1,
            }
        }
        self.rows.push_back(row);
        while self.rows.len() > self.keep {
            self.rows.pop_front();
        }
    }

    /// The last `count` requests, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<RequestRow> {
        let skip = self.rows.len().saturating_sub(count);
        self.rows.iter().skip(skip).cloned().collect()
    }

    pub(crate) fn fetches(&self, id: &RecordId) -> Fetches {
        self.fetches.get(id).copied().unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> Vec<RequestCount> {
        let rows = self.counts.iter();
        rows.map(|((template, status), count)| RequestCount {
            template,
            status: *status,
            count: *count,
        })
        .collect()
    }
}
