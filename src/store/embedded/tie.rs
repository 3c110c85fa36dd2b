//! Ties a database to its write-ahead log.
//!
//! SQLite replays any log that lies beside a database and is whole in itself. Where an operator has
//! put a copy in the place of the database and left the log there, this would undo the copy in
//! silence, or mix it with other pages. So the table `meta` has a row that names the database, by
//! random bytes, and counts the transactions that changed anything. The file has the count of the
//! last transaction that was written back, and the log has the counts from the next one on. Where
//! the two do not meet, or the names differ, the log is that of another database, or of this one at
//! another time. A copy gets another name when it is made ([`super::backup`]).
//!
//! The row is found without SQLite, which would replay the log: `meta` is the first table of the
//! layout, so it has page 2, and its few rows fit on that one page. Format:
//! <https://sqlite.org/fileformat2.html#b_tree_pages>.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use rusqlite::Connection;

use super::fault::Fault;
use super::schema;

#[cfg(test)]
mod tests;

/// The page of the table `meta`.
pub(super) const PAGE: u32 = 2;

/// What the row is called.
const NAME: &str = "log";

/// What its value begins with.
const MARK: &[u8; 8] = b"kw-tie1:";

/// A database by name, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    lineage: [u8; 8],
    count: u64,
}

impl Tie {
    /// The tie of a database that is new, or a copy that goes its own way from now on.
    pub(super) fn new() -> io::Result<Self> {
        let mut lineage = [0; 8];
        aws_lc_rs::rand::fill(&mut lineage).map_err(|_| io::Error::other("no randomness"))?;
        Ok(Self { lineage, count: 0 })
    }

    pub(super) fn next(self) -> Self {
        Self { count: self.count.wrapping_add(1), ..self }
    }

    /// The tie of a database, if it has one: those of older versions have none.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, Fault> {
        Ok(schema::meta(connection, NAME)?.and_then(|value| Self::from_bytes(&value)))
    }

    pub(super) fn write(self, connection: &Connection) -> Result<(), Fault> {
        schema::set_meta(connection, NAME, &self.to_bytes())
    }

    fn to_bytes(self) -> Vec<u8> {
        [&MARK[..], &self.lineage, &self.count.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MARK)?;
        let (lineage, rest) = rest.split_first_chunk::<8>()?;
        let count = u64::from_be_bytes(*rest.first_chunk::<8>()?);
        Some(Self { lineage: *lineage, count })
    }

    /// The tie on page [`PAGE`], if there is one.
    pub(super) fn on_page(page: &[u8]) -> Option<Self> {
        /// A leaf of an index, as a table without row ids has them.
        const LEAF: u8 = 10;
        const HEADER: usize = 8;
        let number =
            |at: usize| Some(usize::from(u16::from_be_bytes(*page.get(at..)?.first_chunk()?)));
        if *page.first()? != LEAF {
            return None;
        }
        (0..number(3)?).find_map(|cell| {
            let at = number(HEADER + 2 * cell)?;
            // A cell of this row begins with its length, in one byte: what is behind it belongs to
            // others.
            let length = usize::from(*page.get(at)?);
            let payload = page.get(at + 1..)?.get(..length)?;
            let value = memchr::memmem::find(payload, MARK)?;
            Self::from_bytes(payload.get(value..)?)
        })
    }

    /// Whether a log with the counts from `first` to `last` is that of the database whose file has
    /// `self`.
    pub(super) fn has_log(self, first: Self, last: Self) -> bool {
        let lineages = [first.lineage, last.lineage];
        lineages == [self.lineage; 2]
            && first.count <= self.count.saturating_add(1)
            && self.count <= last.count
    }
}

/// What the beginning of a database says, read without SQLite.
pub(super) struct Beginning {
    /// In bytes.
    pub(super) page_size: usize,
    /// How many pages there are, unless there is a log.
    pub(super) pages: u32,
    /// Whether it was made to be used with a log.
    pub(super) has_logs: bool,
    /// As of what was written back.
    pub(super) tie: Option<Tie>,
}

impl Beginning {
    /// `None`: it does not begin as a database does. SQLite must not have the file open: closing it
    /// here would drop SQLite's locks on it.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let mut header = Vec::with_capacity(100);
        (&mut file).take(100).read_to_end(&mut header)?;
        let Some([.., [high, low, _, log_version], _, _, pages]) = header
            .as_chunks::<4>()
            .0
            .first_chunk::<8>()
            .filter(|_| header.len() == 100 && header.starts_with(b"SQLite format 3\0"))
        else {
            return Ok(None);
        };
        let page_size = match u16::from_be_bytes([*high, *low]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let mut page = Vec::new();
        file.seek(SeekFrom::Start(page_size as u64))?;
        file.take(page_size as u64).read_to_end(&mut page)?;
        let (pages, has_logs) = (u32::from_be_bytes(*pages), *log_version == 2);
        Ok(Some(Self { page_size, pages, has_logs, tie: Tie::on_page(&page) }))
    }
}
