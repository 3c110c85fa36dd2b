//! A span of time as an argument: `90s`, `15m`, `24h`, `30d`.

use std::time::Duration;

/// The longest span: a hundred years. More is a slip of the finger; without an end is said by leaving it out.
const MAX_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// Reads a whole number and its unit: `s`, `m`, `h` or `d`.
///
/// # Errors
///
/// What was expected instead.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number and a unit, like 90s, 15m, 24h or 30d".to_owned();
    let split = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(split);
    let unit_seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(expected()),
    };
    if number.is_empty() {
        return Err(expected());
    }
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_seconds));
    match seconds {
        Some(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be between 1s and 36500d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("24h", 86_400), ("36500d", MAX_SECONDS)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "24", "h", "0s", "-1h", "1.5h", "1w", "24 h", "24H", "36501d", "99999999999999999999s", "١s"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
