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
//! Everything is under the tag, what changes too: who writes the store can neither plant an account
//! nor put another password in the place of one. What they can do is put back what an account once
//! was; against that, keep the store's backups as safe as the store.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::record_codec::{RecordKey, TAG};
use crate::domain::{Account, AccountId, Email, FullName, Timestamp, Username};
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::Credentials;

/// The form that is written, and the only one that is read.
const FORM: u8 = 1;

/// An account that is not what was once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountFault {
    /// Too short to be one.
    #[error("an account was cut short")]
    CutShort,
    /// Another form than ours.
    #[error("an account has the unknown form {0}")]
    UnknownForm(u8),
    /// The tag does not fit key and content.
    #[error("an account was altered")]
    Altered,
    /// The tag fits and yet we cannot read it: not written by this code.
    #[error("an account cannot be read")]
    Unreadable,
}

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
/// [`AccountFault::Unreadable`] if it cannot be put into words, which no account is known to cause.
pub fn encode(key: &RecordKey, credentials: &Credentials) -> Result<Vec<u8>, AccountFault> {
    let Credentials { account, hash } = credentials;
    let json = serde_json::to_vec(&Body::<&str> {
        id: account.id,
        api: &account.token_api,
        user: account.username.as_str(),
        mail: account.email.as_str(),
        name: account.full_name.as_str(),
        at: account.created_at,
        rev: account.revision,
        hash: hash.expose(),
        off: account.is_disabled,
    })
    .map_err(|_| AccountFault::Unreadable)?;
    let mut body = Vec::with_capacity(1 + TAG + json.len());
    body.push(FORM);
    body.extend_from_slice(&tag(key, &json));
    body.extend_from_slice(&json);
    Ok(body)
}

/// The account of these bytes.
///
/// # Errors
///
/// The store's fault, each of them: see [`AccountFault`].
pub fn decode(key: &RecordKey, body: &[u8]) -> Result<Credentials, AccountFault> {
    let (&form, sealed) = body.split_first().ok_or(AccountFault::CutShort)?;
    if form != FORM {
        return Err(AccountFault::UnknownForm(form));
    }
    let (claimed, json) = sealed.split_first_chunk::<TAG>().ok_or(AccountFault::CutShort)?;
    if !bool::from(tag(key, json).ct_eq(claimed)) {
        return Err(AccountFault::Altered);
    }
    let body: Body<String> = serde_json::from_slice(json).map_err(|_| AccountFault::Unreadable)?;
    let account = Account {
        id: body.id,
        token_api: body.api,
        username: Username::new(&body.user).map_err(|_| AccountFault::Unreadable)?,
        email: Email::new(&body.mail).map_err(|_| AccountFault::Unreadable)?,
        full_name: FullName::new(&body.name).map_err(|_| AccountFault::Unreadable)?,
        created_at: body.at,
        is_disabled: body.off,
        revision: body.rev,
    };
    let hash = PasswordHash::parse(body.hash).map_err(|_| AccountFault::Unreadable)?;
    Ok(Credentials { account, hash })
}

fn tag(key: &RecordKey, json: &[u8]) -> [u8; TAG] {
    key.tag_of(&[b"keyward account\0", &[FORM], json])
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
        assert_eq!(decode(&RecordKey::new(&[8; 32]), &body), Err(AccountFault::Altered));
        assert_eq!(decode(&key(), &[2]), Err(AccountFault::UnknownForm(2)));
    }
}
