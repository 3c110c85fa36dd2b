//! What is kept of a password: argon2id (RFC 9106) in the PHC string format,
//! `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.

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

/// What one hash costs.
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

    /// The most that a stored hash may ask for, so that nothing in a store can take the memory of
    /// the process.
    const MOST: Self = Self { memory_kib: 256 * 1024, passes: 16, lanes: 16 };

    fn fits(self) -> bool {
        self.memory_kib <= Self::MOST.memory_kib
            && self.passes <= Self::MOST.passes
            && self.lanes <= Self::MOST.lanes
    }

    fn context(self) -> Result<Argon2<'static>, HashFault> {
        if !self.fits() {
            return Err(HashFault);
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH))
            .map_err(|_| HashFault)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A hash that cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password hash is malformed, or the system gave no random bytes")]
pub struct HashFault;

/// The hash of a password. `Debug` is redacted: a reader of the hash can guess passwords offline.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// What a hash says of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not its hash.
    Wrong,
    /// It is its hash.
    Right,
    /// It is the hash of the bytes that were typed, made before passwords were
    /// [prepared](Password::prepared): it is to be made anew.
    RightAsTyped,
}

/// The memory of a computation, kept for the next one.
#[derive(Default)]
pub(super) struct Arena(Vec<Block>);

impl Arena {
    /// As many blocks as a computation needs.
    fn blocks(&mut self, params: &Params) -> &mut [Block] {
        self.0.resize_with(params.block_count(), Block::default);
        &mut self.0
    }
}

impl PasswordHash {
    /// Reads a PHC string.
    ///
    /// # Errors
    ///
    /// It is none of argon2id, version 19, with a salt and a hash of our lengths and at a bearable
    /// cost.
    pub fn parse(text: String) -> Result<Self, HashFault> {
        let hash = Self(text);
        hash.parts()?.0.context()?;
        Ok(hash)
    }

    /// A hash that no password has, and that costs as much to verify as any. Logins of unknown
    /// users are verified against it.
    ///
    /// # Errors
    ///
    /// The system gave no random bytes.
    pub fn of_nobody(cost: HashingCost) -> Result<Self, HashFault> {
        Ok(Self::spell(cost, &random()?, &random()?))
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it costs what a new one would.
    #[must_use]
    pub fn costs(&self, cost: HashingCost) -> bool {
        self.parts().is_ok_and(|(own, ..)| own == cost)
    }

    /// Hashes a new password. Takes its time.
    pub(super) fn make(
        password: &NewPassword,
        cost: HashingCost,
        arena: &mut Arena,
    ) -> Result<Self, HashFault> {
        let salt = random()?;
        let hash = compute(password.password(), cost, &salt, arena)?;
        Ok(Self::spell(cost, &salt, &hash))
    }

    /// Whether this is the hash of `password`. Takes its time: for a wrong password the same for
    /// each hash of the same cost, twice that if it was typed in another form than the one that is
    /// hashed.
    pub(super) fn verify(
        &self,
        password: &Password,
        arena: &mut Arena,
    ) -> Result<Verdict, HashFault> {
        let (cost, salt, hash) = self.parts()?;
        let mut is_of =
            |form: &Password| Ok(bool::from(compute(form, cost, &salt, arena)?.ct_eq(&hash)));
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

    fn spell(cost: HashingCost, salt: &[u8; SALT], hash: &[u8; HASH]) -> Self {
        let HashingCost { memory_kib, passes, lanes } = cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        Self(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
    }

    fn parts(&self) -> Result<(HashingCost, [u8; SALT], [u8; HASH]), HashFault> {
        let rest = self.0.strip_prefix("$argon2id$v=19$").ok_or(HashFault)?;
        let [cost, salt, hash] = split(rest, '$')?;
        let [memory, passes, lanes] = split(cost, ',')?;
        let number = |text: &str, name: &str| {
            let digits = text
                .strip_prefix(name)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or(HashFault)
        };
        let cost = HashingCost {
            memory_kib: number(memory, "m=")?,
            passes: number(passes, "t=")?,
            lanes: number(lanes, "p=")?,
        };
        Ok((cost, bytes(salt)?, bytes(hash)?))
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
    context
        .hash_password_into_with_memory(
            password.expose(),
            salt,
            hash.as_mut(),
            arena.blocks(context.params()),
        )
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
            let hash = PasswordHash::parse(hash.expose().to_owned()).expect("ours");
            assert_eq!(
                hash.verify(password("correct horse").password(), &mut arena),
                Ok(Verdict::Right)
            );
            assert_eq!(
                hash.verify(password("correct horsf").password(), &mut arena),
                Ok(Verdict::Wrong)
            );
            assert!(hash.costs(CHEAP) && !hash.costs(HashingCost::OWASP));
        }
        let nobody = PasswordHash::of_nobody(CHEAP).expect("random bytes");
        assert_eq!(
            nobody.verify(password("correct horse").password(), &mut arena),
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
            let hash = compute(&raw, CHEAP, &[1; SALT], &mut Arena::default()).expect("computed");
            let old = PasswordHash::spell(CHEAP, &[1; SALT], &hash);
            assert_eq!(verify(&old, typed), Ok(Verdict::RightAsTyped), "{typed:?}");
            assert_eq!(verify(&old, "caf\u{e9} au lait"), Ok(Verdict::Wrong));
        }
    }

    #[test]
    fn what_is_not_ours_or_too_dear_is_not_read() {
        let good = PasswordHash::spell(CHEAP, &[1; SALT], &[2; HASH]).0;
        assert!(PasswordHash::parse(good.clone()).is_ok());
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
            assert_eq!(PasswordHash::parse(good.replace(from, to)), Err(HashFault), "{from} {to}");
        }
        assert_eq!(PasswordHash::parse(format!("{good}=")), Err(HashFault));
        assert_eq!(PasswordHash::parse(String::new()), Err(HashFault));
    }
}
