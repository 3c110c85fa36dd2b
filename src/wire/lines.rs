//! The fields of a response in wire form. A proxy passes most of them on as they are: it need not take them apart, look their
//! names up and put them together again.

use super::fields;

/// Lines, each `name: value` and its line ending, in the order in which they came, and with their names as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldLines {
    text: Vec<u8>,
    /// Whether a field that others have to know of may be among them.
    has_date: bool,
    has_request_id: bool,
    has_hop_by_hop: bool,
}

/// The field that names a request to everybody who has a part in it.
pub const X_REQUEST_ID: &[u8] = b"x-request-id";

impl FieldLines {
    /// None yet, with room for so many bytes of them.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Adds a line. The name must be a token and the value a field value without white space around it, which who reads or
    /// makes them has checked.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            4 => self.has_date |= name.eq_ignore_ascii_case(b"date"),
            12 => self.has_request_id |= name.eq_ignore_ascii_case(X_REQUEST_ID),
            _ => {}
        }
        self.has_hop_by_hop |= fields::is_hop_by_hop_name(name);
        self.text.reserve(name.len() + value.len() + 4);
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
    }

    /// All of them, as they go onto the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Whether `Date` is among them.
    #[must_use]
    pub fn has_date(&self) -> bool {
        self.has_date
    }

    /// Whether `X-Request-Id` is among them.
    #[must_use]
    pub fn has_request_id(&self) -> bool {
        self.has_request_id
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.text.split(|&byte| byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = memchr::memchr(b':', line)?;
            Some((line.get(..colon)?, line.get(colon + 2..)?))
        })
    }

    /// Whether a list field has this element, on any of its lines, in any case.
    #[must_use]
    pub fn lists(&self, name: &[u8], element: &[u8]) -> bool {
        self.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).any(|(_, value)| {
            value.split(|&byte| byte == b',').any(|found| found.trim_ascii().eq_ignore_ascii_case(element))
        })
    }

    /// Keeps the lines whose names `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let mut kept = Self::with_capacity(self.text.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            kept.push(name, value);
        }
        *self = kept;
    }

    /// Removes what ends at this hop (RFC 9110, section 7.6.1), `except` aside: nearly always nothing does.
    pub fn strip_hop_by_hop(&mut self, except: &[u8]) {
        if !self.has_hop_by_hop {
            return;
        }
        let named: Vec<Vec<u8>> = self
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
            .flat_map(|(_, value)| value.split(|&byte| byte == b','))
            .map(|name| name.trim_ascii().to_ascii_lowercase())
            .filter(|name| !fields::is_protected_name(name))
            .collect();
        self.retain(|name| {
            let ends = fields::is_hop_by_hop_name(name) || named.iter().any(|named| named.eq_ignore_ascii_case(name));
            !ends || name.eq_ignore_ascii_case(except)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(fields: &[(&str, &str)]) -> FieldLines {
        let mut lines = FieldLines::default();
        for (name, value) in fields {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        lines
    }

    #[test]
    fn lines_are_read_as_they_were_put_in() {
        let fields =
            [("Content-Type", "text/html; a=\"b: c\""), ("X-Empty", ""), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
        let lines = lines(&fields);
        assert!(lines.iter().eq(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))));
        assert!(lines.as_bytes().ends_with(b"X-Empty: \r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"));
        assert!(!lines.has_date() && !lines.has_request_id());
    }

    #[test]
    fn what_others_have_to_know_of_is_known() {
        assert!(lines(&[("a", ""), ("DATE", "x")]).has_date());
        assert!(lines(&[("X-Request-ID", "x"), ("b", "")]).has_request_id());
        let upgrade = lines(&[("Upgrade", "h2c, WebSocket"), ("upgraded", "x")]);
        assert!(upgrade.lists(b"upgrade", b"websocket") && !upgrade.lists(b"upgrade", b"x"));
    }

    #[test]
    fn every_connection_line_is_read_in_any_case_and_the_fixed_set_goes() {
        let mut all = lines(&[
            ("Connection", "X-One , ,x-TWO, content-type"),
            ("CONNECTION", "close"),
            ("X-one", "1"),
            ("Date", "today"),
            ("x-Two", "2"),
            ("Trailer", "grpc-status"),
            ("Keep-Alive", "timeout=5"),
            ("Upgrade", "h2c"),
            ("Content-Type", "text/plain"),
        ]);
        let mut without = all.clone();
        all.strip_hop_by_hop(b"trailer");
        let kept = [("Date", "today"), ("Trailer", "grpc-status"), ("Content-Type", "text/plain")];
        assert_eq!(all.as_bytes(), lines(&kept).as_bytes());
        assert!(all.has_date());
        without.strip_hop_by_hop(b"");
        assert_eq!(without, lines(&[("Date", "today"), ("Content-Type", "text/plain")]));
    }
}
