//! Validates `[identity_headers]`.

use crate::config::identity_headers::{IdentityHeaders, Preset, folded, parse_name};
use crate::config::section::Section;

pub(super) fn headers(mut section: Section<'_>) -> IdentityHeaders {
    let presets = Preset::ALL.map(|preset| (preset.as_str(), preset));
    let preset = section.take_choice("preset", Preset::default(), &presets);
    let names = IdentityHeaders::preset(preset);
    let mut take = |key, default| {
        section.take_parsed(
            key,
            default,
            "the name of a header, or \"\" to leave it out",
            parse_name,
        )
    };
    let headers = IdentityHeaders {
        subject: take("subject", names.subject),
        username: take("username", names.username),
        organization: take("organization", names.organization),
        role: take("role", names.role),
        email: take("email", names.email),
        token_id: take("token_id", names.token_id),
        credential: take("credential", names.credential),
        request_id: take("request_id", names.request_id),
        client_certificate_subject: take(
            "client_certificate_subject",
            names.client_certificate_subject,
        ),
        client_certificate_names: take("client_certificate_names", names.client_certificate_names),
    };
    report_shared_names(&headers, &section);
    headers
}

fn report_shared_names(headers: &IdentityHeaders, section: &Section<'_>) {
    let fields = headers.fields();
    for (index, (field, name)) in fields.iter().enumerate() {
        for (earlier, other) in fields.iter().take(index) {
            if let (Some(name), Some(other)) = (name, other)
                && folded(name) == folded(other)
            {
                // One of the two was typed (no preset shares a name): that is the place to look at.
                let typed = if section.is_given(field) { field } else { earlier };
                section.fault(
                    typed,
                    format!(
                        "{earlier:?} and {field:?} would share the header {name:?}: an \
                             upstream could not tell them apart"
                    ),
                );
            }
        }
    }
}
