use std::fs;
use std::path::PathBuf;

use super::*;

/// A log of four transactions, as a crash would leave it, with the byte at which each begins.
struct Crashed {
    _directory: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

fn crashed() -> Crashed {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("a.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection.execute_batch("CREATE TABLE a (x)").unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let log = directory.path().join("a.db-wal");
    let mut begins = Vec::new();
    for _ in 0..4 {
        begins.push(usize::try_from(fs::metadata(&log).unwrap().len()).unwrap().max(HEADER));
        connection.execute_batch("INSERT INTO a VALUES (randomblob(9000))").unwrap();
    }
    let bytes = fs::read(&log).unwrap();
    let path = directory.path().join("copy");
    Crashed { _directory: directory, path, bytes, begins }
}

impl Crashed {
    fn inspect(&self, bytes: &[u8]) -> WalState {
        fs::write(&self.path, bytes).unwrap();
        inspect(&self.path).unwrap().state
    }
}

#[test]
fn a_whole_log_is_sound_and_none_is_empty() {
    let log = crashed();
    assert_eq!(log.inspect(&log.bytes), WalState::Sound);
    assert_eq!(log.inspect(b""), WalState::Empty);
    assert_eq!(log.inspect(&[0; HEADER]), WalState::Empty);
    assert_eq!(inspect(&log.path.with_extension("missing")).unwrap().state, WalState::Empty);
}

#[test]
fn a_log_that_was_cut_short_is_sound_wherever_it_ends() {
    let log = crashed();
    for length in (HEADER + 1..log.bytes.len()).step_by(97) {
        assert_eq!(log.inspect(&log.bytes[..length]), WalState::Sound, "{length} bytes");
    }
}

#[test]
fn an_unfinished_last_transaction_is_sound_whichever_part_is_missing() {
    let log = crashed();
    let last = log.begins[3];
    let frame = FRAME_HEADER + 4096;
    for begin in (last..log.bytes.len()).step_by(frame) {
        let mut torn = log.bytes.clone();
        torn[begin..begin + frame].fill(0);
        assert_eq!(log.inspect(&torn), WalState::Sound);
    }
}

#[test]
fn what_an_earlier_round_of_the_log_left_behind_is_sound() {
    let log = crashed();
    let other = crashed();
    let mut reused = log.bytes[..log.begins[1]].to_vec();
    reused.extend_from_slice(&other.bytes[log.begins[1]..]);
    assert_eq!(log.inspect(&reused), WalState::Sound);
}

#[test]
fn a_flipped_bit_before_the_last_transaction_is_damage() {
    let log = crashed();
    for at in (0..log.begins[3]).step_by(41) {
        let mut flipped = log.bytes.clone();
        flipped[at] ^= 0x10;
        // Two of a header's bytes, version and number of checkpoints, are under its checksum like
        // all others.
        assert_eq!(log.inspect(&flipped), WalState::Damaged, "byte {at}");
    }
}
