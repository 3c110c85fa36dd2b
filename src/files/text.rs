//! Texts without the byte order marks, the UTF-16 and the line ends that editors of other systems
//! leave.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::FileError;

const UTF_8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// A byte that no text in UTF-8 has (RFC 3629, section 1).
const NO_UTF_8: u8 = 0xff;

/// The text without byte order marks: at its start, and where another file was appended, at the
/// start of a line. UTF-16 with a mark (as PowerShell's `>` writes it) is recoded as UTF-8; a
/// broken unit becomes a byte that UTF-8 does not have, so that its reader refuses it.
#[must_use]
pub fn text_of(content: &[u8]) -> Cow<'_, [u8]> {
    if let Some(text) = from_utf_16(content) {
        return Cow::Owned(text);
    }
    if memchr::memmem::find(content, UTF_8_MARK).is_none() {
        return Cow::Borrowed(content);
    }
    let mut lines = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.extend_from_slice(line.strip_prefix(UTF_8_MARK).unwrap_or(line));
    }
    Cow::Owned(lines)
}

/// `None`: it does not begin with a mark of UTF-16.
fn from_utf_16(content: &[u8]) -> Option<Vec<u8>> {
    let unit: fn([u8; 2]) -> u16 = match content {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (units, rest) = content.as_chunks::<2>();
    // With enough capacity for all of it, as a unit is three bytes at most: a vector that grows
    // leaves copies of a secret behind.
    let mut text = Vec::with_capacity(units.len() * 3 + 1);
    for found in char::decode_utf16(units.iter().skip(1).map(|&pair| unit(pair))) {
        match found {
            Ok(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(_) => text.push(NO_UTF_8),
        }
    }
    if !rest.is_empty() {
        text.push(NO_UTF_8);
    }
    Some(text)
}

/// A secret that is one line of text, without the end of the line.
///
/// # Errors
///
/// It is empty, has several lines, or is not text. The message does not quote it.
pub fn one_line(content: &[u8]) -> Result<Zeroizing<String>, FileError> {
    let refused = |words: &str| Err(FileError::Content(words.to_owned()));
    let text = Zeroizing::new(text_of(content).into_owned());
    match std::str::from_utf8(&text) {
        Err(_) => refused("is not text: a password is UTF-8"),
        Ok(text) => match text.trim_end_matches(['\r', '\n']) {
            "" => refused("is empty"),
            line if line.contains(['\r', '\n']) => {
                refused("has more than one line: a password is one line")
            }
            line => Ok(Zeroizing::new(line.to_owned())),
        },
    }
}

/// A secret of any bytes, as HMAC takes them. Of text, the end of the last line is left out:
/// editors put it there. Bytes that are not text are taken as they are.
///
/// # Errors
///
/// It begins with a mark of UTF-16 and could as well be random bytes: the two would be different
/// secrets.
pub fn shared_secret(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let recoded = from_utf_16(content).map(Zeroizing::new);
    if let Some(text) = &recoded
        && (!content.len().is_multiple_of(2)
            || !text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')))
    {
        return Err(FileError::Content(
            "begins with the byte order mark of UTF-16 and is not plain text: write it as UTF-8, \
             or make another secret if it is random bytes"
                .to_owned(),
        ));
    }
    let bytes = recoded.as_deref().map_or(content, Vec::as_slice);
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(Zeroizing::new(bytes.to_vec())) };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).as_bytes().to_vec()))
}
