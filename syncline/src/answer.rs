//! What a command says and ends with.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

/// What a command that did its work says.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// For standard output, without the last newline.
    text: String,
    /// For people, on standard error.
    notes: Vec<String>,
    /// What the process ends with.
    code: u8,
}

impl Answer {
    /// A text for standard output.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// JSON for standard output, for people and programs.
    pub(crate) fn json(value: &Value) -> Self {
        Self::text(format!("{value:#}"))
    }

    /// Something that one should know besides.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Another end than 0.
    #[must_use]
    pub(crate) fn ends_with(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Says it; the code to end with.
    pub(crate) fn give(&self) -> ExitCode {
        for note in &self.notes {
            eprintln!("note: {note}");
        }
        let mut out = io::stdout().lock();
        let newline = if self.text.is_empty() { "" } else { "\n" };
        match write!(out, "{}{newline}", self.text).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::from(self.code),
            // Whoever read it has seen enough: `syncline ... | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(self.code),
            Err(error) => {
                eprintln!("error: cannot write the answer: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Says why a command did not do its work, each cause once; the code to end with.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    let mut text = String::new();
    for cause in error.chain() {
        let told = cause.to_string();
        if !text.contains(&told) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{colon}{told}");
        }
    }
    eprintln!("error: {text}");
    if tables_are_missing(error) {
        eprintln!("note: the tables are not there, or of an older version: run syncline migrate");
    }
    ExitCode::FAILURE
}

/// 42P01 undefined_table, 42703 undefined_column.
fn tables_are_missing(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
        .filter_map(|error| error.as_database_error()?.code())
        .any(|code| matches!(&*code, "42P01" | "42703"))
}
