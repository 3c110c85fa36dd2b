//! Hexadecimal digits, in lower case.

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = pairs();

#[expect(clippy::indexing_slicing, reason = "computed when compiling: the indices are in range")]
const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
}

/// The two digits of a byte.
#[must_use]
pub fn pair(byte: u8) -> [u8; 2] {
    PAIRS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The sixteen digits of a number, most significant first.
#[must_use]
pub fn number(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (digits, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        digits.copy_from_slice(&pair(byte));
    }
    text
}

/// The digits of some bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(bytes.iter().flat_map(|&byte| pair(byte)).map(char::from));
    text
}

/// The value of a digit, of either case.
#[must_use]
pub fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in
            [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 1 << 63, 0x9090_a0a0]
        {
            assert_eq!(super::number(number), *format!("{number:016x}").as_bytes(), "{number:x}");
        }
    }

    #[test]
    fn every_byte_has_its_two_digits_and_every_digit_its_value() {
        for byte in 0..=255 {
            let [high, low] = pair(byte);
            assert_eq!(encode(&[byte]), format!("{byte:02x}"));
            assert_eq!(value(high).zip(value(low)), Some((byte >> 4, byte & 15)));
            assert_eq!(value(high.to_ascii_uppercase()), Some(byte >> 4));
        }
        for other in [b'g', b'/', b':', b'@', b'`', 0xff] {
            assert_eq!(value(other), None);
        }
    }
}
