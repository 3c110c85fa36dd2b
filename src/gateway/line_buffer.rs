//! The lines of a worker that wait to be written to the access log.

use crate::domain::Timestamp;

/// Collects lines until there are many of them or a second has passed.
#[derive(Default)]
pub(super) struct LineBuffer {
    lines: String,
    /// The second that `stamp` shows.
    second: i64,
    stamp: String,
}

const BUFFER_BYTES: usize = 64 * 1024;

impl LineBuffer {
    /// Adds a line that begins with this time; `write` adds what follows.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        is_json: bool,
        write: impl FnOnce(&mut String, bool),
    ) {
        let Self { lines, second, stamp } = self;
        if *second != at.unix_seconds() || stamp.is_empty() {
            *second = at.unix_seconds();
            let text = at.to_rfc3339_zulu();
            text.trim_end_matches('Z').clone_into(stamp);
        }
        // Three digits: the leading one of 1000 to 1999 is left out.
        let millis = 1000 + at.unix_millis().rem_euclid(1000);
        let mut number = itoa::Buffer::new();
        let millis = number.format(millis).get(1..).unwrap_or_default();
        lines.push_str(if is_json { r#"{"time":""# } else { "" });
        lines.push_str(stamp);
        lines.push('.');
        lines.push_str(millis);
        lines.push_str(if is_json { r#"Z""# } else { "Z " });
        write(lines, is_json);
        lines.push_str(if is_json { "}\n" } else { "\n" });
    }

    /// Whether the lines are to be taken before the next one is added.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.lines.len() > BUFFER_BYTES * 3 / 4
    }

    /// The lines that wait, if there are any.
    pub(super) fn take(&mut self) -> Option<String> {
        (!self.lines.is_empty())
            .then(|| std::mem::replace(&mut self.lines, String::with_capacity(BUFFER_BYTES)))
    }
}
