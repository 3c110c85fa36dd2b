//! An account as bytes that cannot be altered unnoticed. Every store keeps this form.
//!
//! Form 1, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the form's number, 1 |
//! | 16 | the tag: the first half of HMAC-SHA-256, under the integrity key, over `keyward account`, a zero byte, the form's number and the JSON |
//! | rest | JSON: `id`, `api`, `user`, `mail`, `name`, `at` (when it was registered, in milliseconds since 1970), `rev`, `hash`; `off`, which is true, if it is disabled |
//!
//! Everything is under the tag, what changes too: with access to the store alone, no account can be
//! planted, and no password put in the place of another. What an account once was can be put back;
//! against that, keep the store's backups as safe as the store.

use serde::{Deserialize, Serialize};

use super::record_codec::{RecordKey, SealFault};
use crate::domain::{Account, AccountId, Email, FullName, Timestamp, Username};
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::Credentials;

/// What the tags of accounts begin with.
const PURPOSE: &[u8] = b"keyward account\0";

/// An account that is not what was once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account {0}")]
pub struct AccountFault(#[from] pub SealFault);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<S> {
    id: AccountId,
    api: S,
    user: S,
    mail: S,
    name: S,
    at: Timestamp,
    rev: u32,
    hash: S,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    off: bool,
}

/// The account as bytes.
///
/// # Errors
///
/// [`SealFault::Unreadable`] if it cannot be written as JSON, which no account is known to cause.
pub fn encode(key: &RecordKey, credentials: &Credentials) -> Result<Vec<u8>, AccountFault> {
    let Credentials { account, hash } = credentials;
    let hash = hash.expose();
    let body = Body::<&str> {
        id: account.id,
        api: &account.token_api,
        user: account.username.as_str(),
        mail: account.email.as_str(),
        name: account.full_name.as_str(),
        at: account.created_at,
        rev: account.revision,
        hash: &hash,
        off: account.is_disabled,
    };
    Ok(key.seal_body(PURPOSE, &[], &body)?)
}

/// The account of these bytes.
///
/// # Errors
///
/// The store's fault, each of them: see [`SealFault`].
pub fn decode(key: &RecordKey, body: &[u8]) -> Result<Credentials, AccountFault> {
    let body: Body<String> = key.open_body(PURPOSE, &[], body)?;
    let unreadable = AccountFault(SealFault::Unreadable);
    let account = Account {
        id: body.id,
        token_api: body.api,
        username: Username::new(&body.user).map_err(|_| unreadable)?,
        email: Email::new(&body.mail).map_err(|_| unreadable)?,
        full_name: FullName::new(&body.name).map_err(|_| unreadable)?,
        created_at: body.at,
        is_disabled: body.off,
        revision: body.rev,
    };
    let hash = PasswordHash::parse(&body.hash).map_err(|_| unreadable)?;
    Ok(Credentials { account, hash })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::*;
    use crate::store::tests::account_conformance::{account, hash};

    fn key() -> RecordKey {
        RecordKey::new(&[7; 32])
    }

    #[test]
    fn what_is_encoded_is_decoded_and_has_the_documented_form() {
        let active = Credentials { account: account(0xa1b2, "Ann"), hash: hash(1) };
        let disabled = Account { is_disabled: true, revision: u32::MAX, ..active.account.clone() };
        for credentials in [active.clone(), Credentials { account: disabled, hash: hash(2) }] {
            assert_eq!(decode(&key(), &encode(&key(), &credentials).unwrap()), Ok(credentials));
        }
        let body = encode(&key(), &active).unwrap();
        let json = format!(
            r#"{{"id":"00000000-0000-a1b2-0000-000000000001","api":"accounts","user":"Ann","mail":"Ann@example.com","name":"Ann X","at":41394,"rev":0,"hash":"{}"}}"#,
            hash(1).expose()
        );
        assert_eq!(std::str::from_utf8(&body[17..]), Ok(&*json));
        let message = [b"keyward account\0\x01", json.as_bytes()].concat();
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &message);
        assert_eq!((body[0], &body[1..17]), (1, &mac.as_ref()[..16]));
    }

    #[test]
    fn every_bit_is_under_the_tag() {
        let body =
            encode(&key(), &Credentials { account: account(1, "ann"), hash: hash(1) }).unwrap();
        for at in 0..body.len() {
            let mut altered = body.clone();
            altered[at] ^= 1;
            assert!(decode(&key(), &altered).is_err(), "{at}");
            assert!(decode(&key(), &body[..at]).is_err(), "{at}");
        }
        assert_eq!(decode(&RecordKey::new(&[8; 32]), &body), Err(AccountFault(SealFault::Altered)));
        assert_eq!(decode(&key(), &[2]), Err(AccountFault(SealFault::UnknownForm(2))));
    }
}
