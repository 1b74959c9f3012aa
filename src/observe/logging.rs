//! Writes log lines to standard error: as text, as JSON, or in the journal's format.

use std::borrow::Cow;
use std::io::{self, LineWriter, Stderr, Write};
use std::str::FromStr;
use std::sync::OnceLock;

use chrono::{SecondsFormat, Utc};
use env_filter::Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::json;
use simplelog::{ConfigBuilder, WriteLogger};

use super::escape::escaped;
use super::{scope, systemd};
use crate::error::{Error, Result};

/// The format of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Time, level, message and fields, for people.
    #[default]
    Text,
    /// One JSON object for each line, for programs.
    Json,
}

impl Format {
    /// Returns the name that [`FromStr`] reads.
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
            _ => Err(Error::usage("use text or json")),
        }
    }
}

/// Checks that `filter` is a level, or levels for modules: `info,airun::periodic=debug`.
///
/// # Errors
/// Shows how to write a filter. A module alone, which `RUST_LOG` allows, is refused here: in a flag it is more likely a
/// mistyped level.
pub fn check_filter(filter: &str) -> Result<()> {
    let is_mistake = |part: &str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if filter.split(',').any(is_mistake) { Err(invalid_filter(filter)) } else { Ok(()) }
}

fn invalid_filter(filter: &str) -> Error {
    Error::usage(format!(
        "invalid log level `{filter}`; use error, warn, info, debug or trace, or for example info,airun::periodic=debug"
    ))
}

static SETTINGS: OnceLock<(String, Format)> = OnceLock::new();

/// Returns the arguments of [`start`], for the processes that this one starts.
pub fn settings() -> (&'static str, Format) {
    SETTINGS.get().map_or(("info", Format::Text), |(filter, format)| (filter, *format))
}

/// Starts logging. `filter` has the syntax of `RUST_LOG`.
///
/// # Errors
/// The filter is invalid, or logging was started before.
pub fn start(filter: &str, format: Format) -> Result<()> {
    SETTINGS.get_or_init(|| (filter.to_owned(), format));
    let filter = env_filter::Builder::new()
        // rustls logs details of TLS at info. They are shown if the filter names the module.
        .filter_module("rustls", LevelFilter::Warn)
        .try_parse(filter)
        .map_err(|_| invalid_filter(filter))?
        .build();
    let form = match format {
        Format::Json => Form::Json,
        Format::Text if systemd::stderr_is_the_journal() => Form::Journal,
        Format::Text => Form::Text(text_logger()),
    };
    log::set_max_level(filter.filter());
    log::set_boxed_logger(Box::new(Logger { filter, form })).map_err(|_| Error::failure("logging is already started"))
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
    // simplelog writes a line in many pieces. Buffered, it leaves in one write and doesn't mix with other processes' lines.
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

fn write(line: &str) {
    // If standard error is closed, there is nowhere to report it.
    io::stderr().lock().write_all(format!("{line}\n").as_bytes()).ok();
}

fn line(record: &Record<'_>) -> String {
    let mut line = escaped(&record.args().to_string()).into_owned();
    scope::with(|fields| {
        for (key, value) in fields {
            let text = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), escaped);
            line.push_str(&format!(" {key}={text}"));
        }
    });
    line
}

fn json(record: &Record<'_>) -> String {
    let mut object = json!({
        "time": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    scope::with(|fields| fields.iter().for_each(|(key, value)| object[*key] = value.clone()));
    object.to_string()
}

/// Returns the priority of syslog(3), which the journal reads from the start of a line (sd-daemon(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
