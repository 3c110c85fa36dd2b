//! The log: tracing's events as JSON or as lines for people, on standard error.
//!
//! keyward's own events are shown from the configured level up, those of its libraries only from
//! `warn` up. The environment variable [`FILTER_VARIABLE`] replaces both with directives as in
//! `keyward=debug,rustls=info`.

use std::env::{self, VarError};
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
    /// In the configuration.
    pub(super) const WORDS: &[(&str, Self)] = &[("json", Self::Json), ("human", Self::Human)];
}

/// The least weight of an event that is shown.
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
    /// In the configuration.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    fn filter(self) -> EnvFilter {
        // Libraries say at `warn` what an operator should know; below, they speak to their
        // developers.
        let libraries = self.min(Self::Warn);
        EnvFilter::new(format!("{libraries},keyward={self}"))
    }
}

/// The running log: lets a reload of the configuration change the level.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    pinned: bool,
}

impl Log {
    /// Shows events from `level` up, from now on. Without effect where [`FILTER_VARIABLE`] has the
    /// say.
    pub fn set_level(&self, level: LogLevel) {
        if !self.pinned {
            // Fails only when the log is gone, and then there is nothing to show.
            let _ = self.filter.reload(level.filter());
        }
    }
}

/// Starts the log of the process, on standard error. The events of every thread go there from now
/// on.
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

/// Looks whether [`init`] would understand [`FILTER_VARIABLE`].
///
/// # Errors
///
/// What it holds are no directives.
pub fn check() -> Result<(), LogError> {
    subscriber(LogFormat::Json, LogLevel::Info, directives()?.as_deref(), false, io::sink).map(drop)
}

/// What [`FILTER_VARIABLE`] holds; none: nothing.
fn directives() -> Result<Option<String>, LogError> {
    match env::var(FILTER_VARIABLE) {
        Ok(directives) if directives.is_empty() => Ok(None),
        Ok(directives) => Ok(Some(directives)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(LogError::Directives("not UTF-8".to_owned())),
    }
}

/// The log on any writer, for tests that install it themselves: `directives` are what
/// [`FILTER_VARIABLE`] would hold.
///
/// # Errors
///
/// The directives are none.
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
    let subscriber = Registry::default().with(filter).with(lines(format, coloured, writer));
    Ok((subscriber, Log { filter: handle, pinned: directives.is_some() }))
}

fn lines<S, W>(format: LogFormat, coloured: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        LogFormat::Json => {
            lines.with_ansi(false).json().flatten_event(true).with_current_span(false).boxed()
        }
        LogFormat::Human => lines.with_ansi(coloured).boxed(),
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
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
