//! A caller whose credential was found good, with all that is made once per token and not once per
//! request.

use std::sync::Arc;

use serde_json::Value;

use super::identity_headers::{IdentityFields, IdentityRules};
use crate::telemetry::configured::CredentialCounters;
use crate::tokens::verified::Caller;

pub(super) struct Admitted {
    pub(super) caller: Caller,
    pub(super) identity: IdentityFields,
    /// Subject, token id and credential as members of a JSON log line.
    pub(super) log_members: Box<str>,
    /// Counts the checks of its token API or issuer; of the worker that has this.
    pub(super) checks: Arc<CredentialCounters>,
}

impl Admitted {
    pub(super) fn new(
        caller: Caller,
        rules: &IdentityRules,
        checks: Arc<CredentialCounters>,
    ) -> Self {
        let subject = Value::from(caller.token.subject());
        let credential = Value::from(&**caller.token.token_api());
        let token_id = caller
            .token_id()
            .map_or_else(String::new, |id| format!(r#","token_id":{}"#, Value::from(&*id)));
        let log_members =
            format!(r#","subject":{subject}{token_id},"credential":{credential}"#).into();
        Self { identity: rules.of(&caller, None), log_members, checks, caller }
    }
}
