//! What Redis answers, taken apart. The same answer has another form in RESP2 than in RESP3: a
//! number may be a text, a map a list.

use redis::Value;

use super::failure::unexpected;
use super::layout::{digest_from_hex, id_name};
use crate::domain::{Record, Timestamp, TokenDigest};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{Listed, StoreError};

/// The parts of a list, of a set, or of a map in turns of key and value.
pub(super) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(parts) | Value::Set(parts) => Ok(parts),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Value::Attribute { data, .. } => list(*data),
        _ => Err(unexpected("a list")),
    }
}

/// A list of at least `N` parts. Further ones are left out: a newer script may say more.
pub(super) fn parts<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
    let mut parts = list(value)?;
    parts.truncate(N);
    parts.try_into().map_err(|_| unexpected("all parts of a list"))
}

/// Bytes; `None` for nothing.
pub(super) fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.into_bytes(),
        Value::Okay => b"OK".to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => return Err(unexpected("a string")),
    }))
}

/// Bytes; none for nothing.
pub(super) fn bytes_or_none(value: Value) -> Result<Vec<u8>, StoreError> {
    bytes(value).map(Option::unwrap_or_default)
}

/// Text, which must be there.
pub(super) fn text(value: Value) -> Result<String, StoreError> {
    let bytes = bytes(value)?.ok_or_else(|| unexpected("a text"))?;
    String::from_utf8(bytes).map_err(|_| unexpected("a text"))
}

/// A number, which must be there. A boolean is 1 or 0.
pub(super) fn number(value: Value) -> Result<i64, StoreError> {
    match value {
        Value::Int(number) => Ok(number),
        Value::Boolean(yes) => Ok(i64::from(yes)),
        other => text(other)?.parse().map_err(|_| unexpected("a number")),
    }
}

/// A number that counts something.
pub(super) fn count(value: Value) -> Result<u64, StoreError> {
    u64::try_from(number(value)?).map_err(|_| unexpected("a count"))
}

/// Digests, all in one string.
pub(super) fn digests(value: Value) -> Result<Vec<TokenDigest>, StoreError> {
    bytes_or_none(value)?
        .chunks(64)
        .map(|digest| digest_from_hex(digest).ok_or_else(|| unexpected("a digest")))
        .collect()
}

/// A record as the scripts return it: `kept` in `scripts/records.lua`.
pub(super) struct Kept {
    pub(super) digest: TokenDigest,
    /// Its member of the sorted sets: in their order, records of the same moment are in the order
    /// in which they were added.
    pub(super) member: Vec<u8>,
    fields: Fields,
    retired_at: Vec<u8>,
    last_used: Vec<u8>,
}

/// The fields of a record's hash.
pub(super) struct Fields {
    id: Vec<u8>,
    body: Vec<u8>,
    ends_at: Vec<u8>,
    mints_left: Vec<u8>,
}

impl Kept {
    pub(super) fn read(value: Value) -> Result<Self, StoreError> {
        let [digest, member, id, body, ends_at, mints_left, retired_at, last_used] =
            parts::<8>(value)?;
        let digest = digest_from_hex(&bytes_or_none(digest)?);
        Ok(Self {
            digest: digest.ok_or_else(|| unexpected("a digest"))?,
            member: bytes_or_none(member)?,
            fields: Fields::read([id, body, ends_at, mints_left])?,
            retired_at: bytes_or_none(retired_at)?,
            last_used: bytes_or_none(last_used)?,
        })
    }

    /// Opens the body, and compares what is beside it with it.
    pub(super) fn open(&self, key: &RecordKey) -> Result<Listed, StoreError> {
        let record = self.fields.open(key, self.digest, time(&self.last_used)?)?;
        if self.member.get(12..) != Some(id_name(record.id).as_bytes()) {
            return Err(disagreement("id"));
        }
        Ok(Listed { record, retired_at: time(&self.retired_at)? })
    }
}

impl Fields {
    /// From `i`, `b`, `e` and `m`.
    pub(super) fn read(fields: [Value; 4]) -> Result<Self, StoreError> {
        let [id, body, ends_at, mints_left] = fields.map(bytes_or_none);
        Ok(Self { id: id?, body: body?, ends_at: ends_at?, mints_left: mints_left? })
    }

    /// Opens the body, and compares what is beside it with it.
    pub(super) fn open(
        &self,
        key: &RecordKey,
        digest: TokenDigest,
        last_used_at: Option<Timestamp>,
    ) -> Result<Record, StoreError> {
        let mints_left = match self.mints_left.as_slice() {
            [] => None,
            digits => Some(parse(digits).ok_or_else(|| disagreement("count of keys left"))?),
        };
        let record = key.decode(digest, &self.body, RecordState { mints_left, last_used_at })?;
        if self.id != id_name(record.id).as_bytes() {
            Err(disagreement("id"))
        } else if time(&self.ends_at)? != record.expires_at {
            Err(disagreement("expiry"))
        } else {
            Ok(record)
        }
    }
}

/// What is beside a body is not what the body says.
pub(super) fn disagreement(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a record's {what} is not the one that was sealed"))
}

fn time(digits: &[u8]) -> Result<Option<Timestamp>, StoreError> {
    match digits {
        [] => Ok(None),
        digits => parse(digits)
            .map(|millis| Some(Timestamp::from_unix_millis(millis)))
            .ok_or_else(|| unexpected("a time")),
    }
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn both_protocols_say_the_same() {
        let flat = Value::Array(vec![bulk("a"), bulk("1")]);
        let map = Value::Map(vec![(bulk("a"), bulk("1"))]);
        assert_eq!(list(flat).unwrap(), list(map).unwrap());
        assert_eq!(list(Value::Set(vec![bulk("a")])).unwrap(), [bulk("a")]);
        for one in [Value::Int(1), bulk("1"), Value::SimpleString("1".into()), Value::Boolean(true)]
        {
            assert_eq!(number(one).unwrap(), 1);
        }
        assert_eq!(number(Value::Boolean(false)).unwrap(), 0);
        assert_eq!(bytes(Value::Nil).unwrap(), None);
        assert_eq!(text(Value::Okay).unwrap(), "OK");
    }

    #[test]
    fn what_was_not_expected_is_an_error() {
        assert!(list(Value::Int(1)).is_err());
        assert!(parts::<2>(Value::Array(vec![Value::Nil])).is_err());
        assert!(number(bulk("x")).is_err());
        assert!(number(Value::Nil).is_err());
        assert!(count(Value::Int(-1)).is_err());
        assert!(text(Value::BulkString(vec![0xff])).is_err());
        assert!(digests(bulk("abc")).is_err());
        assert_eq!(digests(bulk("")).unwrap(), []);
    }
}
