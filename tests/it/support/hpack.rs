//! HPACK (RFC 7541): literal fields for what a test sends, and a whole decoder for what comes back.
//!
//! The encoder writes literals without indexing and without Huffman coding, and checks nothing, so
//! that a test says any name and any value. The decoder checks everything that the RFC asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

/// A field as it is on the wire: name and value, any bytes.
pub(crate) type RawField = (Vec<u8>, Vec<u8>);

/// One field as a literal without indexing with a new name (section 6.2.2).
pub(crate) fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// One field as a literal with incremental indexing and a new name (section 6.2.1): it enters the
/// dynamic table of the peer's decoder.
pub(crate) fn indexed_literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// A reference to an entry of the tables (section 6.1).
pub(crate) fn index(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A change of the dynamic table's size (section 6.3).
pub(crate) fn table_size(bytes: usize) -> Vec<u8> {
    integer(0x20, 5, bytes)
}

/// A string without Huffman coding (section 5.2).
fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&integer(0, 7, bytes.len())[..], bytes].concat()
}

/// An integer whose first byte has these high bits and this many bits of the value (section 5.1).
pub(crate) fn integer(high: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![high | value as u8];
    }
    let (mut bytes, mut rest) = (vec![high | most as u8], value - most);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// The decoder of one direction of a connection.
pub(crate) struct Decoder {
    /// The newest entry first.
    dynamic: VecDeque<RawField>,
    most: usize,
}

/// What the peer is told in no SETTINGS, so what it may use (RFC 9113, section 6.5.2).
const TABLE_SIZE: usize = 4096;

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { dynamic: VecDeque::new(), most: TABLE_SIZE }
    }

    /// The fields of one whole header block, in order.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Vec<RawField>, String> {
        let (mut fields, mut rest) = (Vec::new(), block);
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => {
                    let index = take_integer(&mut rest, 7)?;
                    fields.push(self.entry(index)?);
                }
                0x40.. => {
                    let field = self.take_literal(&mut rest, 6)?;
                    self.add(field.clone());
                    fields.push(field);
                }
                0x20.. => {
                    let size = take_integer(&mut rest, 5)?;
                    if size > TABLE_SIZE || !fields.is_empty() {
                        return Err(format!(
                            "a table of {size} bytes, behind {} fields",
                            fields.len()
                        ));
                    }
                    self.most = size;
                    self.evict();
                }
                _ => fields.push(self.take_literal(&mut rest, 4)?),
            }
        }
        Ok(fields)
    }

    fn take_literal(&self, rest: &mut &[u8], bits: u32) -> Result<RawField, String> {
        let name = match take_integer(rest, bits)? {
            0 => take_text(rest)?,
            index => self.entry(index)?.0,
        };
        Ok((name, take_text(rest)?))
    }

    fn entry(&self, index: usize) -> Result<RawField, String> {
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let place = index.checked_sub(1).ok_or("index 0")?;
        match STATIC.get(place) {
            Some(field) => Ok(owned(field)),
            None => {
                self.dynamic.get(place - STATIC.len()).cloned().ok_or(format!("no entry {index}"))
            }
        }
    }

    fn add(&mut self, field: RawField) {
        self.dynamic.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        let size = |table: &VecDeque<RawField>| -> usize {
            table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
        };
        while size(&self.dynamic) > self.most {
            self.dynamic.pop_back();
        }
    }
}

fn take_integer(rest: &mut &[u8], bits: u32) -> Result<usize, String> {
    let mut next = || -> Result<usize, String> {
        let (&first, behind) = rest.split_first().ok_or("the block ends inside an integer")?;
        *rest = behind;
        Ok(first.into())
    };
    let most = (1_usize << bits) - 1;
    let mut value = next()? & most;
    if value < most {
        return Ok(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("an integer of more than four bytes".into())
}

fn take_text(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let is_coded = rest.first().is_some_and(|&first| first >= 0x80);
    let length = take_integer(rest, 7)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or("the block ends inside a string")?;
    *rest = behind;
    if is_coded { unpack(bytes) } else { Ok(bytes.to_vec()) }
}

/// Decodes Huffman coding (section 5.2): the padding is at most 7 bits, all of them 1.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    static SYMBOLS: OnceLock<HashMap<(u32, u32), usize>> = OnceLock::new();
    let symbols = SYMBOLS.get_or_init(symbols);
    let (mut unpacked, mut code, mut length) = (Vec::new(), 0_u32, 0);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        if let Some(&symbol) = symbols.get(&(length, code)) {
            unpacked.push(u8::try_from(symbol).map_err(|_| "the symbol EOS in a string")?);
            (code, length) = (0, 0);
        } else if length > 30 {
            return Err("a code that no symbol has".into());
        }
    }
    if length < 8 && code + 1 == 1 << length {
        Ok(unpacked)
    } else {
        Err("padding that is none".into())
    }
}

/// The symbols by the length and the value of their codes. The code is canonical (Appendix B):
/// shorter codes come first, and among equally long ones the smaller symbol.
fn symbols() -> HashMap<(u32, u32), usize> {
    let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
    order.sort_by_key(|&symbol| (LENGTHS[symbol], symbol));
    let (mut code, mut length) = (0_u32, 0_u32);
    let mut symbols = HashMap::new();
    for symbol in order {
        let longer = u32::from(LENGTHS[symbol]);
        code <<= longer - length;
        length = longer;
        symbols.insert((length, code), symbol);
        code += 1;
    }
    symbols
}

/// How many bits the code of each symbol has (Appendix B); the last one is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
    6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23,
    23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22,
    22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26,
    27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
    25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The static table (Appendix A), from index 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The bytes of a hexadecimal text, in which white space says nothing.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn shown(fields: &[RawField]) -> Vec<String> {
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| format!("{}={}", show(name), show(value))).collect()
}

/// RFC 7541, C.3 and C.4: three requests on one connection, without and with Huffman coding.
#[test]
fn the_decoder_reads_the_requests_of_the_rfc() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let packed = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, packed] {
        let mut decoder = Decoder::new();
        let mut decode = |block: &str| shown(&decoder.decode(&bytes_of(block)).expect("a block"));
        let common = [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"];
        assert_eq!(decode(blocks[0]), common);
        assert_eq!(decode(blocks[1]), [&common[..], &["cache-control=no-cache"]].concat());
        let third =
            [":method=GET", ":scheme=https", ":path=/index.html", ":authority=www.example.com"];
        assert_eq!(decode(blocks[2]), [&third[..], &["custom-key=custom-value"]].concat());
    }
}

/// RFC 7541, C.6: responses with a table of 256 bytes, which evicts.
#[test]
fn the_decoder_evicts_as_the_rfc_does() {
    let mut decoder = Decoder::new();
    let mut decode = |hex: &str| shown(&decoder.decode(&bytes_of(hex)).expect("a block"));
    let first = "3fe101 488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
                 6e919d29ad171863c78f0b97c8e9ae82ae43d3";
    let date = "date=Mon, 21 Oct 2013 20:13:21 GMT";
    assert_eq!(
        decode(first),
        [":status=302", "cache-control=private", date, "location=https://www.example.com"]
    );
    assert_eq!(
        decode("4883640effc1c0bf"),
        [":status=307", "cache-control=private", date, "location=https://www.example.com"]
    );
    let mut decoder = Decoder::new();
    assert!(decoder.decode(&bytes_of("be")).is_err(), "an entry that is not there");
}

/// The decoder reads any bytes as the encoder wrote them.
#[test]
fn literals_are_read_as_they_were_written() {
    let long = vec![b'a'; 70_000];
    for (name, value) in
        [(&b"x"[..], &b"y"[..]), (b"", b""), (b"X: y\r\n", b"\0\xff"), (&long, &long)]
    {
        let mut decoder = Decoder::new();
        let fields = decoder.decode(&[literal(name, value), indexed_literal(name, value)].concat());
        assert_eq!(fields.expect("a block"), vec![(name.to_vec(), value.to_vec()); 2]);
    }
    assert_eq!(integer(0, 5, 1337), [31, 154, 10], "RFC 7541, C.1.2");
}
