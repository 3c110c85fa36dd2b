//! A caller that was found good, with all that is made once for each token.

use super::identity_headers::IdentityFields;
use super::identity_headers::IdentityRules;
use crate::tokens::verified::Caller;

/// A caller whose token is good, with all that is made once per token and not once per request.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    /// The identity headers.
    pub(super) identity: IdentityFields,
    /// Subject and token id as members of a JSON log line.
    pub(super) log_members: Box<str>,
}

impl Admitted {
    pub(super) fn new(caller: Caller, rules: &IdentityRules) -> Self {
        Self { identity: rules.of(&caller, None), log_members: log_members(&caller), caller }
    }
}

fn log_members(caller: &Caller) -> Box<str> {
    let text = |text: &str| serde_json::Value::from(text);
    let subject = text(caller.token.subject());
    let credential = text(caller.token.token_api());
    match caller.token_id() {
        Some(id) => {
            format!(r#","subject":{subject},"token_id":{},"credential":{credential}"#, text(&id))
                .into()
        }
        None => format!(r#","subject":{subject},"credential":{credential}"#).into(),
    }
}
