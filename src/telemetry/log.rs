//! The log: tracing's events as JSON or as lines for people, on standard error.
//!
//! keyward's own events are shown from the configured level up, those of its libraries only from
//! `warn` up: below, they are for the developers of the library. The environment variable
//! [`FILTER_VARIABLE`] replaces both with directives as in `keyward=debug,rustls=info`.

use std::env::{self, VarError};
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The environment variable with directives that replace the configured level.
pub const FILTER_VARIABLE: &str = "KEYWARD_LOG";

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people; coloured on a terminal only.
    Human,
}

impl LogFormat {
    pub(super) const WORDS: &[(&str, Self)] = &[("json", Self::Json), ("human", Self::Human)];
}

/// The least important events that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// An operator should look.
    Warn,
    /// The milestones: start, reload, stop, an administrator's doing.
    Info,
    /// Why a request went the way it went.
    Debug,
    /// Everything.
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, level)| level == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl LogLevel {
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    fn filter(self) -> EnvFilter {
        // The library of DNS warns of each datagram that is no answer to what it has asked.
        EnvFilter::new(format!("{},hickory_net=error,keyward={self}", self.min(Self::Warn)))
    }
}

/// The running log: lets a reload of the configuration change the level.
#[derive(Clone, Debug)]
pub struct Log {
    /// None: [`FILTER_VARIABLE`] is set.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Log {
    /// Shows events from `level` up, from now on. Without effect where [`FILTER_VARIABLE`] is set.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(filter) = &self.filter {
            // Fails only when the log is gone.
            let _ = filter.reload(level.filter());
        }
    }
}

/// Starts the log of the process, on standard error, for the events of all threads.
///
/// # Errors
///
/// [`FILTER_VARIABLE`] holds no directives (the user's fault), or the process has a log already
/// (ours).
pub fn init(format: LogFormat, level: LogLevel) -> Result<Log, LogError> {
    let coloured =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let directives = directives()?;
    let (subscriber, log) = subscriber(format, level, directives.as_deref(), coloured, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(log)
}

/// Checks [`FILTER_VARIABLE`] as [`init`] does.
///
/// # Errors
///
/// It holds no directives.
pub fn check() -> Result<(), LogError> {
    subscriber(LogFormat::Json, LogLevel::Info, directives()?.as_deref(), false, io::sink).map(drop)
}

fn directives() -> Result<Option<String>, LogError> {
    match env::var(FILTER_VARIABLE) {
        Ok(directives) => Ok(Some(directives).filter(|directives| !directives.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(LogError::Directives("not UTF-8".to_owned())),
    }
}

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// The log on any writer, with `directives` as of [`FILTER_VARIABLE`].
///
/// # Errors
///
/// The directives are malformed.
pub fn subscriber<W>(
    format: LogFormat,
    level: LogLevel,
    directives: Option<&str>,
    coloured: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static, Log), LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = match directives {
        Some(directives) => EnvFilter::try_new(directives)
            .map_err(|error| LogError::Directives(error.to_string()))?,
        None => level.filter(),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer::<Filtered>();
    let lines = lines.with_writer(writer).log_internal_errors(false);
    let lines = match format {
        LogFormat::Json => {
            lines.with_ansi(false).json().flatten_event(true).with_current_span(false).boxed()
        }
        LogFormat::Human => lines.with_ansi(coloured).boxed(),
    };
    let subscriber = Registry::default().with(filter).with(lines);
    Ok((subscriber, Log { filter: directives.is_none().then_some(handle) }))
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directives are malformed.
    #[error("{FILTER_VARIABLE} is not understood: {0}")]
    Directives(String),
    /// Another log was installed first.
    #[error("the process has a log already")]
    Installed(#[from] SetGlobalDefaultError),
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(
        format: LogFormat,
        level: LogLevel,
        directives: Option<&str>,
        events: impl FnOnce(&Log),
    ) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let (subscriber, log) =
            subscriber(format, level, directives, false, move || writer.clone())
                .expect("a subscriber");
        tracing::subscriber::with_default(subscriber, || events(&log));
        let bytes = paper.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn json_is_one_object_a_line_with_time_level_and_fields() {
        let text = written(LogFormat::Json, LogLevel::Info, None, |_| {
            tracing::info!(target: "keyward::x", port = 80, name = "a\n\u{1b}[31m\"", "listening");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("an object");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "listening");
        assert_eq!(line["port"], 80);
        assert_eq!(line["name"], "a\n\u{1b}[31m\"");
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{text}");
    }

    #[test]
    fn people_get_a_line_without_escapes_unless_on_a_terminal() {
        let text = written(LogFormat::Human, LogLevel::Info, None, |_| {
            tracing::warn!(target: "keyward::x", name = "a\n\u{1b}[31m", "careful");
        });
        assert!(text.contains("WARN") && text.contains("careful"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 1, "{text:?}");
    }

    #[test]
    fn the_level_is_for_keyward_and_libraries_only_warn() {
        let speak = |_: &Log| {
            tracing::debug!(target: "keyward::x", "ours-debug");
            tracing::info!(target: "hyper::y", "theirs-info");
            tracing::warn!(target: "hyper::y", "theirs-warn");
        };
        let text = written(LogFormat::Human, LogLevel::Debug, None, speak);
        assert!(
            text.contains("ours-debug")
                && text.contains("theirs-warn")
                && !text.contains("theirs-info"),
            "{text}"
        );
        assert_eq!(written(LogFormat::Human, LogLevel::Error, None, speak), "");
        let text = written(LogFormat::Human, LogLevel::Error, Some("hyper=info"), speak);
        assert!(text.contains("theirs-info") && !text.contains("ours-debug"), "{text}");
    }

    #[test]
    fn a_reload_changes_the_level_unless_the_environment_has_the_say() {
        let speak = |log: &Log| {
            tracing::info!(target: "keyward::x", "one");
            log.set_level(LogLevel::Info);
            tracing::info!(target: "keyward::x", "two");
        };
        let text = written(LogFormat::Human, LogLevel::Error, None, speak);
        assert!(!text.contains("one") && text.contains("two"), "{text}");
        assert_eq!(written(LogFormat::Human, LogLevel::Error, Some("keyward=error"), speak), "");
    }

    #[test]
    fn directives_that_are_none_are_refused() {
        let outcome =
            subscriber(LogFormat::Json, LogLevel::Info, Some("keyward=loud"), false, io::sink);
        let error = outcome.map(|_| ()).expect_err("no such level").to_string();
        assert!(error.starts_with("KEYWARD_LOG is not understood"), "{error}");
    }
}
