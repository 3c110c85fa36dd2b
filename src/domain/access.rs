//! Which API keys a caller may revoke.

use super::identity::ADMIN_ROLE;
use super::{Identity, Record};

/// Whether a caller of the same token API, whose subject is of `origin` ([`Record::origin`]), may
/// revoke an API key: it is the caller's own, or the caller is an administrator. The same subject
/// of another origin is another owner. The fields that decide never change, so the decision still
/// holds when the record is removed.
#[must_use]
pub fn may_revoke(caller: &Identity, origin: Option<&str>, key: &Record) -> bool {
    let is_own = key.identity.subject == caller.subject && key.origin.as_deref() == origin;
    is_own || caller.role.as_deref() == Some(ADMIN_ROLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RecordKind, Timestamp, TokenDigest, TokenId};

    fn identity(subject: &str, role: Option<&str>) -> Identity {
        Identity {
            subject: subject.into(),
            username: None,
            organization: None,
            role: role.map(str::to_owned),
            email: None,
        }
    }

    fn record(subject: &str, kind: RecordKind) -> Record {
        Record {
            digest: TokenDigest::from_bytes([0; 32]),
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            token_api: "api".into(),
            kind,
            origin: None,
            identity: identity(subject, None),
            name: None,
            hint: None,
            limits: None,
            issued_at: Timestamp::from_unix_millis(0),
            expires_at: None,
            last_used_at: None,
        }
    }

    #[test]
    fn owners_and_admins_may_revoke_a_key_and_other_callers_may_not() {
        let key = record("ann", RecordKind::ApiKey);
        assert!(may_revoke(&identity("ann", None), None, &key));
        assert!(may_revoke(&identity("bob", Some("admin")), None, &key));
        for role in [None, Some("user"), Some("Admin"), Some("admin ")] {
            assert!(!may_revoke(&identity("bob", role), None, &key), "{role:?}");
        }
    }

    #[test]
    fn the_same_subject_of_another_origin_is_another_owner() {
        let own = record("ann", RecordKind::ApiKey);
        let theirs = Record { origin: Some("idp".into()), ..own.clone() };
        let ann = identity("ann", None);
        assert!(may_revoke(&ann, Some("idp"), &theirs) && may_revoke(&ann, None, &own));
        assert!(!may_revoke(&ann, None, &theirs));
        assert!(!may_revoke(&ann, Some("idp"), &own));
        assert!(!may_revoke(&ann, Some("other"), &theirs));
    }
}
