//! A Lua script, and the name under which Redis remembers it.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest;

/// A script. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) source: Arc<str>,
    /// The SHA-1 of the source, in hexadecimal: what `EVALSHA` takes.
    pub(super) sha: Arc<str>,
}

impl Script {
    /// From its source.
    pub(super) fn new(source: &str) -> Self {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        let mut sha = String::with_capacity(40);
        for byte in hash.as_ref() {
            // Writing to a string does not fail.
            let _ = write!(sha, "{byte:02x}");
        }
        Self { source: source.into(), sha: sha.into() }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_the_sha1_of_the_source() {
        // The example of EVALSHA's documentation.
        assert_eq!(
            &*super::Script::new("return redis.call('get','foo')").sha,
            "6b1bf486c81ceb7edf3c093f4c48582e38c0e791"
        );
    }
}
