//! A span of time as an argument: written as in the configuration, `90s`, `24h`, `1h30m`, in whole
//! seconds.

use std::time::Duration;

use crate::config::TimeSpan;

/// The longest span: a hundred years. More is a slip; without the argument there is no end.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Reads a span of whole seconds, from `1s` to `36500d`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let TimeSpan(span) = text.parse()?;
    if span.subsec_nanos() > 0 {
        Err("must be whole seconds".to_owned())
    } else if span.is_zero() || span > LONGEST {
        Err("must be between 1s and 36500d".to_owned())
    } else {
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_whole_seconds_written_as_in_the_configuration() {
        for (text, seconds) in
            [("1s", 1), ("1h30m", 5400), ("24h", 86_400), ("36500d", LONGEST.as_secs())]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "24",
            "h",
            "0s",
            "-1h",
            "1.5h",
            "1w",
            "24 h",
            "24H",
            "36501d",
            "99999999999999999999s",
            "1500ms",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
