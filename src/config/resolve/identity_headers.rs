//! What the keys of `[identity_headers]` say together: single names stand in the place of the
//! preset's, and no two headers have the same name.

use std::collections::HashMap;

use crate::config::identity_headers::folded;
use crate::config::tables::IdentityHeaderKeys;
use crate::gateway::IdentityNames;
use crate::settings::fault::Findings;

pub(super) fn resolve(keys: IdentityHeaderKeys, findings: &Findings<'_>) -> IdentityNames {
    let spot = findings.table("identity_headers");
    let preset = IdentityNames::preset(keys.preset);
    let name = |key, typed, of_preset| if spot.is_given(key) { typed } else { of_preset };
    let names = IdentityNames {
        subject: name("subject", keys.subject, preset.subject),
        username: name("username", keys.username, preset.username),
        organization: name("organization", keys.organization, preset.organization),
        role: name("role", keys.role, preset.role),
        email: name("email", keys.email, preset.email),
        token_id: name("token_id", keys.token_id, preset.token_id),
        credential: name("credential", keys.credential, preset.credential),
        // The same with every preset.
        request_id: keys.request_id,
        client_certificate_subject: keys.client_certificate_subject,
        client_certificate_names: keys.client_certificate_names,
    };
    let mut seen = HashMap::new();
    for (field, name) in names.fields() {
        let Some(name) = name else { continue };
        if let Some(earlier) = seen.insert(folded(name), field) {
            // One of the two was typed, as no preset shares a name: the fault is there.
            let typed = if spot.is_given(field) { field } else { earlier };
            let message = format!(
                "{earlier:?} and {field:?} would share the header {name:?}: an upstream could not \
                 tell them apart"
            );
            spot.fault(typed, message);
        }
    }
    names
}
