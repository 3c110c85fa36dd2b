//! What Redis answers, taken apart.

use redis::{FromRedisValue, Value};

use super::failure::unexpected;
use super::layout::{digest_from_hex, id_name};
use crate::domain::{Record, Timestamp, TokenDigest};
use crate::store::record_codec::{RecordKey, RecordState};
use crate::tokens::store::{Listed, StoreError};

/// The answer as a `T`. The client library's own error is left out: it repeats the answer.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| unexpected("what was asked for"))
}

/// A number of things. The client library makes a large number of a negative one.
pub(super) fn count(value: Value) -> Result<usize, StoreError> {
    usize::try_from(read::<i64>(value)?).map_err(|_| unexpected("a count"))
}

/// Digests, all in one string.
pub(super) fn digests(value: Value) -> Result<Vec<TokenDigest>, StoreError> {
    let digit_pairs: Vec<u8> = read(value)?;
    digit_pairs.chunks(64).map(digest).collect()
}

fn digest(digits: &[u8]) -> Result<TokenDigest, StoreError> {
    digest_from_hex(digits).ok_or_else(|| unexpected("a digest"))
}

/// The fields `i`, `b`, `e` and `m` of a record's hash; empty for what is not there.
pub(super) type Fields = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

/// Opens a record, and compares what is beside its sealed body with that.
pub(super) fn record(
    key: &RecordKey,
    digest: TokenDigest,
    (id, body, ends_at, mints_left): Fields,
    last_used_at: Option<Timestamp>,
) -> Result<Record, StoreError> {
    let mints_left = optional(&mints_left, || disagreement("count of keys left"))?;
    let record = key.decode(digest, &body, RecordState { mints_left, last_used_at })?;
    if id != id_name(record.id).as_bytes() {
        Err(disagreement("id"))
    } else if time(&ends_at)? != record.expires_at {
        Err(disagreement("expiry"))
    } else {
        Ok(record)
    }
}

/// A record as the scripts return it (`kept` in `scripts/records.lua`), opened as by [`record`].
/// Second, its member of the sorted sets: in their order, records of the same moment are in the
/// order in which they were added.
pub(super) fn listed(key: &RecordKey, row: Value) -> Result<(Listed, Vec<u8>), StoreError> {
    type Row = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);
    let (digits, member, id, body, ends_at, mints_left, retired_at, last_used): Row = read(row)?;
    let fields = (id, body, ends_at, mints_left);
    let record = record(key, digest(&digits)?, fields, time(&last_used)?)?;
    if member.get(12..) != Some(id_name(record.id).as_bytes()) {
        return Err(disagreement("id"));
    }
    Ok((Listed { record, retired_at: time(&retired_at)? }, member))
}

/// What is beside a body is not what the body says.
pub(super) fn disagreement(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a record's {what} is not the one that was sealed"))
}

fn time(digits: &[u8]) -> Result<Option<Timestamp>, StoreError> {
    Ok(optional(digits, || unexpected("a time"))?.map(Timestamp::from_unix_millis))
}

/// The number that these digits are; none for none.
fn optional<T: std::str::FromStr>(
    digits: &[u8],
    error: impl FnOnce() -> StoreError,
) -> Result<Option<T>, StoreError> {
    if digits.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn what_was_not_expected_is_an_error_that_does_not_repeat_it() {
        let error = read::<(String, String)>(Value::Array(vec![bulk("secret")])).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(words) if !words.contains("secret")));
        assert!(read::<Vec<Value>>(Value::Int(1)).is_err());
        assert!(read::<i64>(bulk("x")).is_err());
        assert!(read::<i64>(Value::Nil).is_err());
        assert!(count(Value::Int(-1)).is_err());
        assert!(read::<String>(Value::BulkString(vec![0xff])).is_err());
        assert!(digests(bulk("abc")).is_err());
        assert_eq!(digests(bulk("")).unwrap(), []);
    }
}
