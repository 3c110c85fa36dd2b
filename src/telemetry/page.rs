//! The text format of Prometheus, 0.0.4: families, labels, values. A `fmt::Write` into a `String`
//! cannot fail.

use std::fmt::{self, Write as _};

use super::histogram::Histogram;

/// The text so far.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

/// A metric: its kind, name and help.
pub(super) type Family<'a> = (&'a str, &'a str, &'a str);

impl Page {
    pub(super) fn family(&mut self, (kind, name, help): Family<'_>) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(("counter", name, help));
        self.line(name, "", value);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(("gauge", name, help));
        self.line(name, "", value);
    }

    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        summands: impl Iterator<Item = &'a Histogram> + Clone,
    ) {
        self.family(("histogram", name, help));
        Histogram::render(&mut self.0, name, "", summands);
    }

    /// A line with one label, whose value needs no escaping.
    pub(super) fn labelled(&mut self, name: &str, label: &str, is: impl fmt::Display, value: u64) {
        self.line(name, &format!("{label}=\"{is}\""), value);
    }

    /// A line with these labels: `a="b",c="d"`, or none.
    pub(super) fn line(&mut self, name: &str, labels: &str, value: impl fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

/// A value of a label that may hold what would end it.
pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(escaped("/a\"b\\c\nd"), r#"/a\"b\\c\nd"#);
        assert_eq!(escaped(r"\n"), r"\\n");
    }
}
