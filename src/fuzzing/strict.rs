//! HTTP/1.1 by the letter of RFC 9112, without the leniencies that it allows: what cannot be read
//! so, some server may read in another way.

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    /// The `1` of `HTTP/1.1`.
    pub(super) minor: u8,
    /// Names in lower case; values without white space around them.
    pub(super) fields: Vec<(Vec<u8>, &'a [u8])>,
}

impl Head<'_> {
    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter(|(found, _)| found == name.as_bytes())
            .map(|(_, value)| *value)
            .collect()
    }
}

/// Reads a head, and returns what is behind it.
pub(super) fn head(mut bytes: &[u8]) -> Option<(Head<'_>, &[u8])> {
    // RFC 9112, section 2.2: the only thing that may come before.
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let (request_line, mut rest) = line(bytes)?;
    let mut words = request_line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    let is_target = !target.is_empty() && target.iter().all(|byte| matches!(byte, 0x21..=0x7e));
    if !is_token(method) || !is_target {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let (field, behind) = line(rest)?;
        rest = behind;
        if field.is_empty() {
            return Some((Head { method, target, minor, fields }, rest));
        }
        let (name, value) = field.split_at(field.iter().position(|&byte| byte == b':')?);
        let value = trimmed(value.get(1..)?);
        let is_value = value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff));
        if !is_token(name) || !is_value {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value));
    }
}

/// Reads the body behind a head, and returns what is behind that.
pub(super) fn body<'a>(head: &Head<'_>, rest: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    match (head.all("content-length").as_slice(), head.all("transfer-encoding").as_slice()) {
        ([], []) => Some((Vec::new(), rest)),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok()?.parse().ok()?;
            rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && head.minor == 1 => {
            chunks(rest)
        }
        _ => None,
    }
}

/// Chunks without extensions and without trailers: what keyward's client sends has neither.
fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (size, behind) = line(rest)?;
        if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let (chunk, behind) = behind.split_at_checked(size)?;
        rest = behind.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, rest));
        }
        body.extend_from_slice(chunk);
    }
}

/// A line without its end, which is a carriage return and a line feed and nothing else.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = bytes.split_at(end);
    let line = line.strip_suffix(b"\r")?;
    (!line.contains(&b'\r')).then_some((line, rest.get(1..)?))
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}
