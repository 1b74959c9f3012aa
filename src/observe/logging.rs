//! Log lines on standard error: as text, as JSON, or as the journal wants them.

use std::io::{self, LineWriter, Stderr, Write};
use std::str::FromStr;
use std::sync::OnceLock;

use chrono::{SecondsFormat, Utc};
use env_filter::Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::escape::escaped;
use super::{scope, systemd};
use crate::error::{Error, Result};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Time, level, words; for people.
    #[default]
    Text,
    /// An object a line; for programs.
    Json,
}

impl Format {
    /// As [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Error::usage("take `text` or `json`")),
        }
    }
}

/// Whether `filter` is a level, or levels for modules: `info,airun::periodic=debug`.
///
/// # Errors
/// Says what a filter looks like. `RUST_LOG` may also hold a module alone, which as a flag is rather a slip.
pub fn check_filter(filter: &str) -> Result<()> {
    let slip = |part: &str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if filter.split(',').any(slip) { Err(no_filter(filter)) } else { Ok(()) }
}

fn no_filter(filter: &str) -> Error {
    Error::usage(format!(
        "`{filter}` is no log level; take error, warn, info, debug, trace, or as in info,airun::periodic=debug"
    ))
}

static SETTINGS: OnceLock<(String, Format)> = OnceLock::new();

/// What [`start`] was called with.
pub fn settings() -> (&'static str, Format) {
    SETTINGS.get().map_or(("info", Format::Text), |(filter, format)| (filter, *format))
}

/// Starts logging. `filter` is as in `RUST_LOG`.
///
/// # Errors
/// Fails on a filter that can't be read, and when logging was started before.
pub fn start(filter: &str, format: Format) -> Result<()> {
    SETTINGS.get_or_init(|| (filter.to_owned(), format));
    let filter = env_filter::Builder::new()
        // What TLS has to say is for those who ask for it by name.
        .filter_module("rustls", LevelFilter::Warn)
        .try_parse(filter)
        .map_err(|_| no_filter(filter))?
        .build();
    let form = match format {
        Format::Json => Form::Json,
        Format::Text if systemd::stderr_is_the_journal() => Form::Journal,
        Format::Text => Form::Text(text_logger()),
    };
    log::set_max_level(filter.filter());
    log::set_boxed_logger(Box::new(Logger { filter, form })).map_err(|_| Error::failure("logging was started twice"))
}

struct Logger {
    filter: Filter,
    form: Form,
}

enum Form {
    Text(Box<WriteLogger<LineWriter<Stderr>>>),
    Json,
    Journal,
}

fn text_logger() -> Box<WriteLogger<LineWriter<Stderr>>> {
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    // A line leaves in one write, so that those of several processes don't mix.
    WriteLogger::new(LevelFilter::Trace, config, LineWriter::new(io::stderr()))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        match &self.form {
            Form::Text(logger) => {
                let line = line(record);
                logger.log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{line}")).build());
            }
            Form::Json => write(&json(record)),
            Form::Journal => write(&format!("<{}>{}", priority(record.level()), line(record))),
        }
    }

    fn flush(&self) {}
}

/// Nobody is left to be told that standard error is closed.
fn write(line: &str) {
    io::stderr().lock().write_all(format!("{line}\n").as_bytes()).unwrap_or_default();
}

fn line(record: &Record<'_>) -> String {
    let mut line = escaped(&record.args().to_string()).into_owned();
    scope::with(|pairs| {
        for (key, value) in pairs {
            line.push_str(&format!(" {key}={}", escaped(value)));
        }
    });
    line
}

fn json(record: &Record<'_>) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |key: &str, value: String| object.insert(key.to_owned(), value.into());
    put("time", Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
    put("level", record.level().as_str().to_ascii_lowercase());
    put("target", record.target().to_owned());
    put("message", record.args().to_string());
    scope::with(|pairs| {
        for (key, value) in pairs {
            put(key, value.clone());
        }
    });
    serde_json::Value::Object(object).to_string()
}

/// The priorities of syslog(3), which the journal reads from the front of a line (sd-daemon(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
