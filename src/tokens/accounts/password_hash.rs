//! The stored hash of a password: argon2id (RFC 9106) in the PHC string format,
//! `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
//!
//! The format is written and read here, not by `password-hash`: that crate is not in the build
//! otherwise, and it also reads other orders and defaults of the parameters, other lengths and
//! associated data, each of which would have to be refused afterwards.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::{NewPassword, Password};

/// Bytes of a salt (RFC 9106, section 3.1) and of a hash.
const SALT: usize = 16;
const HASH: usize = 32;

/// The cost of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashingCost {
    /// The first of OWASP's equal choices for argon2id (Password Storage Cheat Sheet): 19 MiB, two
    /// passes, one lane. Some 20 ms of one core.
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };

    /// The most that a stored hash may cost, so that no data of a store exhausts the memory.
    const MOST: Self = Self { memory_kib: 256 * 1024, passes: 16, lanes: 16 };

    fn context(self) -> Result<Argon2<'static>, HashFault> {
        let Self { memory_kib, passes, lanes } = self;
        let most = Self::MOST;
        if memory_kib > most.memory_kib || passes > most.passes || lanes > most.lanes {
            return Err(HashFault);
        }
        let params = Params::new(memory_kib, passes, lanes, Some(HASH)).map_err(|_| HashFault)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A hash cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password hash is malformed, or the system gave no random bytes")]
pub struct HashFault;

/// The hash of a password. `Debug` is redacted, because hashes allow to guess passwords offline.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// Its cost.
    pub cost: HashingCost,
    salt: [u8; SALT],
    hash: [u8; HASH],
}

/// Whether a password is that of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not.
    Wrong,
    /// It is.
    Right,
    /// It is, as it was typed: the hash was made before passwords were
    /// [prepared](Password::prepared), and is to be made anew.
    RightAsTyped,
}

/// The memory of a computation, kept for the next one.
#[derive(Default)]
pub(super) struct Arena(Vec<Block>);

impl PasswordHash {
    /// Reads a PHC string.
    ///
    /// # Errors
    ///
    /// It is not of argon2id, version 19, or has a salt or a hash of other lengths than 16 and 32
    /// bytes, or costs too much.
    pub fn parse(text: &str) -> Result<Self, HashFault> {
        let rest = text.strip_prefix("$argon2id$v=19$").ok_or(HashFault)?;
        let [cost, salt, hash] = split(rest, '$')?;
        let [memory, passes, lanes] = split(cost, ',')?;
        let number = |text: &str, name: &str| {
            let digits = text.strip_prefix(name).ok_or(HashFault)?;
            // Not a sign, which `parse` takes.
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or(HashFault)
        };
        let cost = HashingCost {
            memory_kib: number(memory, "m=")?,
            passes: number(passes, "t=")?,
            lanes: number(lanes, "p=")?,
        };
        cost.context()?;
        Ok(Self { cost, salt: bytes(salt)?, hash: bytes(hash)? })
    }

    /// A hash of no known password, against which logins of unknown users are verified.
    ///
    /// # Errors
    ///
    /// The system gave no random bytes.
    pub fn of_unknown_user(cost: HashingCost) -> Result<Self, HashFault> {
        Ok(Self { cost, salt: random()?, hash: random()? })
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> String {
        let HashingCost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.hash));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }

    /// Hashes a new password, at this cost.
    pub(super) fn make(
        password: &NewPassword,
        cost: HashingCost,
        arena: &mut Arena,
    ) -> Result<Self, HashFault> {
        let salt = random()?;
        let hash = *compute(password.password(), cost, &salt, arena)?;
        Ok(Self { cost, salt, hash })
    }

    /// Whether this is the hash of `password`. For a wrong password the time depends only on the
    /// cost of the hash; it is twice that if the password was typed in another form than the
    /// prepared one.
    pub(super) fn verify(
        &self,
        password: &Password,
        arena: &mut Arena,
    ) -> Result<Verdict, HashFault> {
        let mut is_of = |form: &Password| {
            let hash = compute(form, self.cost, &self.salt, arena)?;
            Ok(bool::from(hash.ct_eq(&self.hash)))
        };
        let prepared = password.prepared().ok();
        if let Some(prepared) = &prepared
            && is_of(prepared)?
        {
            return Ok(Verdict::Right);
        }
        if prepared.as_ref() != Some(password) && is_of(password)? {
            return Ok(Verdict::RightAsTyped);
        }
        Ok(Verdict::Wrong)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([secret])")
    }
}

fn compute(
    password: &Password,
    cost: HashingCost,
    salt: &[u8; SALT],
    arena: &mut Arena,
) -> Result<Zeroizing<[u8; HASH]>, HashFault> {
    let context = cost.context()?;
    let mut hash = Zeroizing::new([0; HASH]);
    arena.0.resize_with(context.params().block_count(), Block::default);
    context
        .hash_password_into_with_memory(password.expose(), salt, hash.as_mut(), &mut arena.0)
        .map_err(|_| HashFault)?;
    Ok(hash)
}

fn random<const N: usize>() -> Result<[u8; N], HashFault> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| HashFault)?;
    Ok(bytes)
}

fn split<const N: usize>(text: &str, at: char) -> Result<[&str; N], HashFault> {
    text.split(at).collect::<Vec<_>>().try_into().map_err(|_| HashFault)
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], HashFault> {
    STANDARD_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(HashFault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashingCost = HashingCost { memory_kib: 64, passes: 1, lanes: 1 };

    fn password(text: &str) -> NewPassword {
        NewPassword::new(Password::presented(text.into())).expect("long enough")
    }

    #[test]
    fn a_hash_is_that_of_its_password_alone_and_never_twice_the_same() {
        let mut arena = Arena::default();
        let one = PasswordHash::make(&password("correct horse"), CHEAP, &mut arena).expect("made");
        let two = PasswordHash::make(&password("correct horse"), CHEAP, &mut arena).expect("made");
        assert_ne!(one, two);
        for hash in [&one, &two] {
            let hash = PasswordHash::parse(&hash.expose()).expect("ours");
            assert_eq!(
                hash.verify(password("correct horse").password(), &mut arena),
                Ok(Verdict::Right)
            );
            assert_eq!(
                hash.verify(password("correct horsf").password(), &mut arena),
                Ok(Verdict::Wrong)
            );
            assert_eq!(hash.cost, CHEAP);
        }
        let unknown = PasswordHash::of_unknown_user(CHEAP).expect("random bytes");
        assert_eq!(
            unknown.verify(password("correct horse").password(), &mut arena),
            Ok(Verdict::Wrong)
        );
        assert_eq!(format!("{one:?}"), "PasswordHash([secret])");
    }

    #[test]
    fn a_hash_is_that_of_every_form_of_its_password_and_one_from_before_of_the_form_that_was_typed()
    {
        let mut arena = Arena::default();
        let (composed, decomposed) = ("caf\u{e9}\u{a0}au lait", "cafe\u{301} au\u{3000}lait");
        let mut verify = |hash: &PasswordHash, typed: &str| {
            hash.verify(&Password::presented(typed.into()), &mut arena)
        };
        let new =
            PasswordHash::make(&password(decomposed), CHEAP, &mut Arena::default()).expect("made");
        for typed in [composed, decomposed, "caf\u{e9} au lait"] {
            assert_eq!(verify(&new, typed), Ok(Verdict::Right), "{typed:?}");
        }
        assert_eq!(verify(&new, "cafe au lait"), Ok(Verdict::Wrong));
        // As they were made before.
        for typed in [decomposed, "tab\tulated", "\u{a0}"] {
            let raw = Password::presented(typed.into());
            let salt = [1; SALT];
            let hash = *compute(&raw, CHEAP, &salt, &mut Arena::default()).expect("computed");
            let old = PasswordHash { cost: CHEAP, salt, hash };
            assert_eq!(verify(&old, typed), Ok(Verdict::RightAsTyped), "{typed:?}");
            assert_eq!(verify(&old, "caf\u{e9} au lait"), Ok(Verdict::Wrong));
        }
    }

    #[test]
    fn what_has_another_form_or_costs_too_much_is_not_read() {
        let good = PasswordHash { cost: CHEAP, salt: [1; SALT], hash: [2; HASH] };
        assert_eq!(PasswordHash::parse(&good.expose()), Ok(good.clone()));
        let good = good.expose();
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("m=64", "m=4294967295"),
            ("m=64", "m=4294967296"),
            ("m=64", "m=+64"),
            ("m=64", "m=0"),
            ("t=1", "t=17"),
            ("t=1", "t="),
            ("p=1", "p=1,x=2"),
            ("AQEB", "AQE"),
            ("AQEB", "AQ=B"),
            ("$AQ", "$$AQ"),
        ] {
            assert_eq!(PasswordHash::parse(&good.replace(from, to)), Err(HashFault), "{from} {to}");
        }
        assert_eq!(PasswordHash::parse(&format!("{good}=")), Err(HashFault));
        assert_eq!(PasswordHash::parse(""), Err(HashFault));
    }
}
