//! Who may revoke what.

use super::{Identity, Record};

/// The answer to "may this caller revoke that token?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeVerdict {
    /// Yes.
    Allowed,
    /// It is somebody else's, and the caller is no administrator.
    NotOwner,
    /// It is a bootstrap token: managed by an administrator at the command line, by nobody over the token API.
    Protected,
}

/// Decides on revoking `target`, a live record of token API `token_api`, for a caller of the same token API. What is
/// decided on never changes while a record lives, so the decision holds when the record is removed later.
#[must_use]
pub fn may_revoke(caller: &Identity, target: &Record) -> RevokeVerdict {
    if target.is_bootstrap() {
        RevokeVerdict::Protected
    } else if target.identity.subject == caller.subject || caller.is_admin() {
        RevokeVerdict::Allowed
    } else {
        RevokeVerdict::NotOwner
    }
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
            identity: identity(subject, None),
            name: None,
            issued_at: Timestamp::from_unix_millis(0),
            expires_at: None,
            last_used_at: None,
        }
    }

    #[test]
    fn owners_and_admins_may_revoke_and_nobody_revokes_a_bootstrap_token() {
        let key = record("ann", RecordKind::ApiKey);
        assert_eq!(may_revoke(&identity("ann", None), &key), RevokeVerdict::Allowed);
        assert_eq!(may_revoke(&identity("bob", Some("admin")), &key), RevokeVerdict::Allowed);
        for role in [None, Some("user"), Some("Admin"), Some("admin ")] {
            assert_eq!(may_revoke(&identity("bob", role), &key), RevokeVerdict::NotOwner);
        }
        let bootstrap = record("ann", RecordKind::Bootstrap { mints_left: 1 });
        assert_eq!(may_revoke(&identity("ann", Some("admin")), &bootstrap), RevokeVerdict::Protected);
    }
}
