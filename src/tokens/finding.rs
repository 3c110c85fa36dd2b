//! The findings of a check of the store, for the log at start and for `keyward store check`.

use serde::Serialize;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, as in `maxmemory-policy`.
    pub subject: String,
    /// Its state.
    pub found: String,
    /// The state that it should have.
    pub wanted: String,
    /// How serious it is.
    pub severity: Severity,
    /// Why it matters and what to do, for an operator; empty if all is well.
    pub words: String,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// It works, with a risk that an operator should know of.
    Warning,
    /// keyward cannot keep its promises on this store.
    Fault,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn fine(subject: impl Into<String>, found: impl Into<String>) -> Self {
        let found = found.into();
        Self {
            subject: subject.into(),
            wanted: found.clone(),
            found,
            severity: Severity::Fine,
            words: String::new(),
        }
    }

    /// Not as it should be; `words` say why it matters and what to do.
    #[must_use]
    pub fn of(
        severity: Severity,
        subject: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
        words: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            found: found.into(),
            wanted: wanted.into(),
            severity,
            words: words.into(),
        }
    }
}
