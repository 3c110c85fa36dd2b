//! What is configured of the directory of keys.

use std::path::PathBuf;

use crate::settings::key::KindExt as _;
use crate::settings::kind::{PATH, Text, text};
use crate::settings::settings;

settings! {
    /// What signs our tokens.
    pub struct KeySettings {
        /// The folder of the keys. It is made on first start (mode 0700), with the keys in it
        /// (mode 0600), or by `keyward keys create` and then mounted: read-only is enough, if no
        /// other user can write to it. The instances of a fleet share it.
        pub directory: PathBuf = PATH.or("keyward-data/keys".into()),
        /// The `iss` claim of our tokens.
        pub issuer: String = ISSUER.or("keyward".into()),
    }
}

const ISSUER: Text<String> = text("a name or URL of 1 to 255 visible characters", |text| {
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    if (1..=255).contains(&text.len()) && text.chars().all(is_visible) {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
});
