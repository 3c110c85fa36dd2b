//! Tells a write-ahead log that ends in an unfinished transaction from one that is damaged.
//!
//! SQLite takes a log for good up to the first frame whose checksum fails and forgets the rest in
//! silence. After a crash that is right: the rest was never acknowledged. After a flipped bit in
//! the middle it would undo acknowledged changes, such as the revocation of a token. The two can be
//! told apart: a transaction is synced before the next one is written (`synchronous=FULL`), so only
//! the last one of a log can be unfinished. A bad frame with a later transaction behind it is
//! damage.
//!
//! Damage to the last transaction looks like a crash while it was written, and so does a log that
//! was cut short: neither is seen.
//!
//! Format: <https://sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::files::APPLICATION_ID;
use super::tie::{self, Tie};

#[cfg(test)]
mod tests;

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalState {
    /// No log, or one that has never had a frame.
    Empty,
    /// Frames, of which at most the last transaction is unfinished.
    Sound,
    /// Acknowledged transactions are lost.
    Damaged,
}

/// A log, and what it says of its database.
pub(super) struct Found {
    pub(super) state: WalState,
    /// Of the database that it was written for, in bytes; zero for an empty log.
    pub(super) page_size: usize,
    /// The ties in the first and the last of the frames that SQLite would replay, where these have
    /// any.
    pub(super) ties: Option<(Tie, Tie)>,
    /// Whose database they make of it, where they say so: a transaction that changes the layout
    /// does.
    pub(super) owner: Option<Owner>,
    /// Whether SQLite would replay anything.
    pub(super) has_changes: bool,
}

/// The program that a database belongs to, by the application id in its first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Keyward,
    AnotherProgram,
}

impl Owner {
    fn on_first_page(page: &[u8]) -> Option<Self> {
        let id = page.get(68..)?.first_chunk::<4>()?;
        let is_ours = *id == APPLICATION_ID.to_be_bytes();
        Some(if is_ours { Self::Keyward } else { Self::AnotherProgram })
    }
}

impl Found {
    const EMPTY: Self =
        Self { state: WalState::Empty, page_size: 0, ties: None, owner: None, has_changes: false };
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Reads the log at `path`. SQLite must not have the file open: closing it here would drop SQLite's
/// locks on it.
pub(super) fn inspect(path: &Path) -> io::Result<Found> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::EMPTY),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut header = [0; HEADER];
    // The header is synced before the first frame is written: without a frame, it may be half a
    // header.
    if length <= HEADER as u64 || !filled(&mut reader, &mut header)? {
        return Ok(Found::EMPTY);
    }
    let Some(mut log) = Log::from_header(&header) else {
        return Ok(Found { state: WalState::Damaged, ..Found::EMPTY });
    };
    log.found.state = log.walk(&mut reader)?;
    Ok(log.found)
}

/// Whether there was enough to fill `buffer`.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

struct Log {
    found: Found,
    salts: (u32, u32),
    sum: Checksum,
}

/// The running checksum over header and frames.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Checksum {
    big_endian: bool,
    first: u32,
    second: u32,
}

impl Checksum {
    fn over(mut self, bytes: &[u8]) -> Self {
        let word = |bytes: [u8; 4]| {
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
            self.first = self.first.wrapping_add(word([a, b, c, d])).wrapping_add(self.second);
            self.second = self.second.wrapping_add(word([e, f, g, h])).wrapping_add(self.first);
        }
        self
    }
}

impl Log {
    /// `None`: not a header.
    fn from_header(header: &[u8; HEADER]) -> Option<Self> {
        let [magic, _version, page_size, _checkpoint, salt1, salt2, first, second] = words(header)?;
        let page_size = usize::try_from(page_size).ok().filter(|size| size.is_power_of_two())?;
        if !(512..=65536).contains(&page_size) || magic & !1 != 0x377f_0682 {
            return None;
        }
        let start = Checksum { big_endian: magic & 1 == 1, first: 0, second: 0 };
        let (summed, _) = header.split_at_checked(24)?;
        let sum = start.over(summed);
        ((sum.first, sum.second) == (first, second)).then_some(Self {
            found: Found { page_size, ..Found::EMPTY },
            salts: (salt1, salt2),
            sum,
        })
    }

    fn walk(&mut self, reader: &mut impl Read) -> io::Result<WalState> {
        let mut header = [0; FRAME_HEADER];
        let mut page = vec![0; self.found.page_size];
        let mut broken = false;
        let mut commit_behind_break = false;
        while filled(reader, &mut header)? && filled(reader, &mut page)? {
            let Some([number, pages_at_commit, salt1, salt2, first, second]) = words(&header)
            else {
                break;
            };
            if !broken {
                let (summed, _) = header.split_at(8);
                let sum = self.sum.over(summed).over(&page);
                if number != 0
                    && (salt1, salt2) == self.salts
                    && (sum.first, sum.second) == (first, second)
                {
                    self.sum = sum;
                    self.found.has_changes |= pages_at_commit != 0;
                    if number == 1 {
                        self.found.owner = Owner::on_first_page(&page);
                    }
                    if number == tie::PAGE
                        && let Some(tie) = Tie::on_page(&page)
                    {
                        let first = self.found.ties.map_or(tie, |(first, _)| first);
                        self.found.ties = Some((first, tie));
                    }
                    continue;
                }
                broken = true;
            }
            // Either salt will do: what is left of an earlier round of the log differs in both, a
            // flipped bit in one.
            if salt1 != self.salts.0 && salt2 != self.salts.1 {
                continue;
            }
            if commit_behind_break {
                return Ok(WalState::Damaged);
            }
            commit_behind_break = pages_at_commit != 0;
        }
        Ok(WalState::Sound)
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.first_chunk::<N>().map(|words| words.map(u32::from_be_bytes))
}
