//! Which tokens a caller may revoke.

use super::{Identity, Record, RecordKind};

/// The answer to "may this caller revoke that token?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeVerdict {
    /// Yes.
    Allowed,
    /// It is another owner's, and the caller is no administrator.
    NotOwner,
    /// It is a bootstrap token: an administrator manages it at the command line, and no caller over
    /// the token API.
    Protected,
    /// It is a session, which is in no list: over the token API it is as unknown as an id that was
    /// never given.
    Unknown,
}

/// Decides on revoking `target` for a caller of the same token API whose subject is of `origin`
/// ([`Record::origin`]): the same subject of another origin is another owner. What is decided on
/// never changes while a record lives, so the decision holds when the record is removed later.
#[must_use]
pub fn may_revoke(caller: &Identity, origin: Option<&str>, target: &Record) -> RevokeVerdict {
    match target.kind {
        RecordKind::Bootstrap { .. } => RevokeVerdict::Protected,
        RecordKind::Session => RevokeVerdict::Unknown,
        RecordKind::ApiKey => {
            let is_own =
                target.identity.subject == caller.subject && target.origin.as_deref() == origin;
            if is_own || caller.is_admin() {
                RevokeVerdict::Allowed
            } else {
                RevokeVerdict::NotOwner
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timestamp, TokenDigest, TokenId};

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
            issued_at: Timestamp::from_unix_millis(0),
            expires_at: None,
            last_used_at: None,
        }
    }

    #[test]
    fn owners_and_admins_may_revoke_and_nobody_revokes_a_bootstrap_token_or_a_session() {
        let key = record("ann", RecordKind::ApiKey);
        assert_eq!(may_revoke(&identity("ann", None), None, &key), RevokeVerdict::Allowed);
        assert_eq!(may_revoke(&identity("bob", Some("admin")), None, &key), RevokeVerdict::Allowed);
        for role in [None, Some("user"), Some("Admin"), Some("admin ")] {
            assert_eq!(may_revoke(&identity("bob", role), None, &key), RevokeVerdict::NotOwner);
        }
        for (kind, verdict) in [
            (RecordKind::Bootstrap { mints_left: 1 }, RevokeVerdict::Protected),
            (RecordKind::Session, RevokeVerdict::Unknown),
        ] {
            for role in [None, Some("admin")] {
                assert_eq!(may_revoke(&identity("ann", role), None, &record("ann", kind)), verdict);
            }
        }
    }

    #[test]
    fn the_same_subject_of_another_origin_is_somebody_else() {
        let own = record("ann", RecordKind::ApiKey);
        let theirs = Record { origin: Some("idp".into()), ..own.clone() };
        let ann = identity("ann", None);
        assert_eq!(may_revoke(&ann, Some("idp"), &theirs), RevokeVerdict::Allowed);
        assert_eq!(may_revoke(&ann, None, &theirs), RevokeVerdict::NotOwner);
        assert_eq!(may_revoke(&ann, Some("idp"), &own), RevokeVerdict::NotOwner);
        assert_eq!(may_revoke(&ann, Some("other"), &theirs), RevokeVerdict::NotOwner);
    }
}
