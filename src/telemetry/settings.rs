//! What is configured of the logs.

use super::access_log::AccessLogTarget;
use super::log::{LogFormat, LogLevel};
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, parse_path, words};
use crate::settings::settings;

settings! {
    /// What is said about the running process, and where.
    pub struct LogSettings {
        /// The least important events that are still logged.
        pub level: LogLevel = words(LogLevel::WORDS).or(LogLevel::Info),
        /// How an event is written. `"json"`: one object per line; `"human"`: for a terminal.
        pub format: LogFormat = words(LogFormat::WORDS).or(LogFormat::Json),
        /// Where the line about each request goes.
        pub access: Option<AccessLogTarget> = ACCESS.or(Some(AccessLogTarget::Stdout)),
    }
}

const ACCESS: Text<Option<AccessLogTarget>> = Text {
    what: "\"stdout\", \"stderr\", \"off\" or the path of a file",
    parse: |text| match text {
        "stdout" => Ok(Some(AccessLogTarget::Stdout)),
        "stderr" => Ok(Some(AccessLogTarget::Stderr)),
        "off" => Ok(None),
        // Otherwise "sdtout" would be a file of that name.
        _ if !text.is_empty() && !text.contains(['/', '.']) => {
            Err(format!("for a file of that name write \"./{text}\""))
        }
        _ => parse_path(text).map(|path| Some(AccessLogTarget::File(path))),
    },
    show: |target| match target {
        None => "off".to_owned(),
        Some(AccessLogTarget::Stdout) => "stdout".to_owned(),
        Some(AccessLogTarget::Stderr) => "stderr".to_owned(),
        Some(AccessLogTarget::File(path)) => path.display().to_string(),
    },
};
