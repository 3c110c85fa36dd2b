//! Takes Swagger UI out of the archive in which its crate carries it, so that the binary holds the
//! files as they are served.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;

/// What is taken, by the end of its path in the archive, after the folder that has the version's
/// name.
const TAKEN: [&str; 5] = [
    "dist/swagger-ui.css",
    "dist/swagger-ui-bundle.js",
    "dist/favicon-32x32.png",
    "LICENSE",
    "NOTICE",
];
/// No file of it is larger.
const MOST_BYTES: usize = 8 * 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = Path::new(&env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("swagger-ui");
    fs::create_dir_all(&folder)?;
    let mut taken = 0;
    for entry in entries()? {
        let Some((_, path)) = entry.name.split_once('/') else { continue };
        if TAKEN.contains(&path) {
            let name = path.rsplit('/').next().unwrap_or(path);
            fs::write(
                folder.join(name),
                entry.content().ok_or_else(|| format!("{path} cannot be unpacked"))?,
            )?;
            taken += 1;
        }
    }
    if taken == TAKEN.len() {
        Ok(())
    } else {
        Err(format!("the archive has {taken} of {TAKEN:?}").into())
    }
}

/// One file in the archive.
struct Entry {
    name: String,
    is_deflated: bool,
    packed: usize,
    unpacked: usize,
    /// Where its local header is.
    at: usize,
}

/// The central directory (PKWARE's APPNOTE.TXT, sections 4.3.12 and 4.3.16).
fn entries() -> Result<Vec<Entry>, Box<dyn Error>> {
    let end = ARCHIVE
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .ok_or("no end of a central directory")?;
    let (mut at, mut entries) = (long(end + 16).ok_or("cut off")?, Vec::new());
    for _ in 0..short(end + 10).ok_or("cut off")? {
        let read = || {
            let lengths = [short(at + 28)?, short(at + 30)?, short(at + 32)?];
            let name =
                String::from_utf8(ARCHIVE.get(at + 46..at + 46 + lengths[0])?.to_vec()).ok()?;
            let entry = Entry {
                name,
                is_deflated: short(at + 10)? == 8,
                packed: long(at + 20)?,
                unpacked: long(at + 24)?,
                at: long(at + 42)?,
            };
            Some((entry, at + 46 + lengths.iter().sum::<usize>()))
        };
        let (entry, next) = read().ok_or("an entry is cut off")?;
        entries.push(entry);
        at = next;
    }
    Ok(entries)
}

impl Entry {
    /// What follows its local header (section 4.3.7), unpacked.
    fn content(&self) -> Option<Vec<u8>> {
        let begin = self.at + 30 + short(self.at + 26)? + short(self.at + 28)?;
        let packed = ARCHIVE.get(begin..begin + self.packed)?;
        let content = if self.is_deflated {
            decompress_to_vec_with_limit(packed, MOST_BYTES).ok()?
        } else {
            packed.to_vec()
        };
        (content.len() == self.unpacked).then_some(content)
    }
}

fn short(at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*ARCHIVE.get(at..)?.first_chunk()?).into())
}

fn long(at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*ARCHIVE.get(at..)?.first_chunk()?)).ok()
}
