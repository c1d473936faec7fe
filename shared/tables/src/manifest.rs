//! What a chain has counted, as its manifest says it: names of pieces, and the
//! binary form of the list.
//!
//! | byte | |
//! |---|---|
//! | first | version, 1 |
//! | then | `late_dropped`, `early_dropped`, number of pieces |
//! | each piece | 16 bytes of its name, parts, bytes, number of panes, the first pane (zigzag), differences |
//!
//! Numbers are LEB128: seven bits a byte, lowest first, the eighth says that more follow.

use std::fmt;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

/// The only version so far.
const VERSION: u8 = 1;
/// The least that a piece takes in the list: its name and three numbers.
const LEAST_ENTRY_BYTES: usize = 16 + 3;

/// A chain: the invocations of one shard in one arrival window that hand their
/// state on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName {
    /// When the arrival window begins, in seconds since 1970.
    pub window_start: i64,
    /// The shard.
    pub shard: String,
    /// The first sequence number, decimal digits.
    pub first: String,
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}#{}#{}", self.window_start, self.shard, self.first)
    }
}

/// A piece's name: 128 bits of XXH3 over its shard and its content, so that the
/// same content has the same name however often it is put.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceName([u8; 16]);

impl PieceName {
    /// The name of this content.
    #[must_use]
    pub fn of(shard: &str, content: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(shard.as_bytes());
        hash.update(content);
        Self(hash.digest128().to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for PieceName {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// 32 hex digits.
impl fmt::Display for PieceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PieceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A piece that a chain has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceEntry {
    /// What its content says it is called.
    pub name: PieceName,
    /// How many items it is split over.
    pub parts: u16,
    /// The length of its content.
    pub bytes: u32,
    /// The panes that it has something about, in order, each once.
    pub panes: Vec<i64>,
}

/// Which pieces a chain has, and what it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The chain.
    pub chain: ChainName,
    /// The last sequence number that it has counted, decimal digits.
    pub last: String,
    /// Its pieces.
    pub pieces: Vec<PieceEntry>,
    /// Events that came too late to be counted.
    pub late_dropped: u64,
    /// Events of too far in the future to be counted.
    pub early_dropped: u64,
}

/// Why a manifest's binary form cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ManifestError {
    /// A release that is not this one wrote it.
    #[error("version {0} is not known")]
    Version(u8),
    /// It ends too early.
    #[error("it ends in the middle")]
    Truncated,
    /// It goes on after its end.
    #[error("more follows after its end")]
    Trailing,
    /// A number does not fit where it stands.
    #[error("a number is out of range")]
    Range,
}

/// What of a manifest is in its binary form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) pieces: Vec<PieceEntry>,
    pub(crate) late_dropped: u64,
    pub(crate) early_dropped: u64,
}

impl Manifest {
    /// The binary form: its pieces and what it left out, without its name.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.late_dropped);
        put(&mut bytes, self.early_dropped);
        put(&mut bytes, self.pieces.len() as u64);
        for piece in &self.pieces {
            bytes.extend(piece.name.0);
            put(&mut bytes, u64::from(piece.parts));
            put(&mut bytes, u64::from(piece.bytes));
            // In order and each once, whatever the caller did: differences are never 0.
            let mut panes = piece.panes.clone();
            panes.sort_unstable();
            panes.dedup();
            put(&mut bytes, panes.len() as u64);
            let mut before = None;
            for pane in panes {
                put(
                    &mut bytes,
                    before.map_or_else(|| zigzag(pane), |before: i64| pane.abs_diff(before)),
                );
                before = Some(pane);
            }
        }
        bytes
    }

    /// The manifest of this chain from its binary form.
    ///
    /// # Errors
    /// [`ManifestError`] if [`to_bytes`](Self::to_bytes) did not write it.
    pub fn from_bytes(chain: ChainName, last: String, bytes: &[u8]) -> Result<Self, ManifestError> {
        let listed = Listed::from_bytes(bytes)?;
        Ok(Self {
            chain,
            last,
            pieces: listed.pieces,
            late_dropped: listed.late_dropped,
            early_dropped: listed.early_dropped,
        })
    }
}

impl Listed {
    /// Reads the binary form.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (version, mut rest) = bytes.split_first().ok_or(ManifestError::Truncated)?;
        if *version != VERSION {
            return Err(ManifestError::Version(*version));
        }
        let late_dropped = take(&mut rest)?;
        let early_dropped = take(&mut rest)?;
        let count = counted(take(&mut rest)?, rest, LEAST_ENTRY_BYTES)?;
        let pieces = (0..count)
            .map(|_| entry(&mut rest))
            .collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(ManifestError::Trailing);
        }
        Ok(Self {
            pieces,
            late_dropped,
            early_dropped,
        })
    }
}

fn entry(rest: &mut &[u8]) -> Result<PieceEntry, ManifestError> {
    let (name, after) = rest.split_first_chunk().ok_or(ManifestError::Truncated)?;
    *rest = after;
    let parts = u16::try_from(take(rest)?).map_err(|_| ManifestError::Range)?;
    let bytes = u32::try_from(take(rest)?).map_err(|_| ManifestError::Range)?;
    let count = counted(take(rest)?, rest, 1)?;
    let mut panes: Vec<i64> = Vec::with_capacity(count);
    for _ in 0..count {
        let number = take(rest)?;
        let pane = match panes.last() {
            None => unzigzag(number),
            Some(_) if number == 0 => return Err(ManifestError::Range),
            Some(before) => before
                .checked_add_unsigned(number)
                .ok_or(ManifestError::Range)?,
        };
        panes.push(pane);
    }
    Ok(PieceEntry {
        name: PieceName(*name),
        parts,
        bytes,
        panes,
    })
}

/// `count`, if so many can still follow: nothing is reserved for a number that
/// only claims to be one.
fn counted(count: u64, rest: &[u8], least_bytes: usize) -> Result<usize, ManifestError> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= rest.len() / least_bytes)
        .ok_or(ManifestError::Truncated)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, ManifestError> {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(ManifestError::Truncated)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || (shift == 63 && bits > 1) {
            return Err(ManifestError::Range);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(number)
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn manifest() -> impl Strategy<Value = Manifest> {
        let entry = (
            any::<[u8; 16]>(),
            any::<u16>(),
            any::<u32>(),
            btree_set(any::<i64>(), 0..20),
        )
            .prop_map(|(name, parts, bytes, panes)| PieceEntry {
                name: PieceName(name),
                parts,
                bytes,
                panes: panes.into_iter().collect(),
            });
        (vec(entry, 0..10), any::<u64>(), any::<u64>()).prop_map(
            |(pieces, late_dropped, early_dropped)| Manifest {
                chain: ChainName {
                    window_start: 0,
                    shard: "shardId-0".to_owned(),
                    first: "1".to_owned(),
                },
                last: "2".to_owned(),
                pieces,
                late_dropped,
                early_dropped,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(manifest in manifest()) {
            let listed = Listed::from_bytes(&manifest.to_bytes()).unwrap();
            prop_assert_eq!(listed.pieces, manifest.pieces);
            prop_assert_eq!(listed.late_dropped, manifest.late_dropped);
            prop_assert_eq!(listed.early_dropped, manifest.early_dropped);
        }

        #[test]
        fn what_is_cut_off_or_goes_on_is_refused(manifest in manifest(), at in any::<prop::sample::Index>()) {
            let mut bytes = manifest.to_bytes();
            let cut = &bytes[..at.index(bytes.len())];
            prop_assert_eq!(Listed::from_bytes(cut), Err(ManifestError::Truncated));
            bytes.push(0);
            prop_assert_eq!(Listed::from_bytes(&bytes), Err(ManifestError::Trailing));
        }

        #[test]
        fn foreign_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..300), ours in any::<bool>()) {
            if ours && let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            match Listed::from_bytes(&bytes) {
                // Whatever is read obeys what an entry promises.
                Ok(listed) => prop_assert!(listed.pieces.iter().all(|piece| piece.panes.is_sorted_by(|a, b| a < b))),
                Err(ManifestError::Version(version)) => prop_assert_ne!(version, VERSION),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn the_form_is_small_and_does_not_change() {
        let name = PieceName::of("shardId-000000000000", b"content");
        let manifest = Manifest {
            chain: ChainName {
                window_start: 1_795_456_800,
                shard: "shardId-000000000000".to_owned(),
                first: "49".to_owned(),
            },
            last: "50".to_owned(),
            pieces: vec![PieceEntry {
                name,
                parts: 2,
                bytes: 500,
                panes: vec![29_924_282, 29_924_280, 29_924_280],
            }],
            late_dropped: 300,
            early_dropped: 0,
        };
        let mut expected = vec![1, 0xac, 2, 0, 1];
        expected.extend(name.as_bytes());
        // 2 parts, 500 bytes, 2 panes: the first as zigzag, the second two minutes on.
        expected.extend([2, 0xf4, 3, 2, 0xf0, 0xee, 0xc4, 0x1c, 2]);
        assert_eq!(manifest.to_bytes(), expected);
        assert_eq!(name.to_string(), "73af2c2f06959d0516f5e9bb763f0a6c");
        assert_eq!(
            manifest.chain.to_string(),
            "1795456800#shardId-000000000000#49"
        );
    }

    #[test]
    fn a_later_version_is_named() {
        let error = Listed::from_bytes(&[2, 9, 9]).unwrap_err();
        assert_eq!(error.to_string(), "version 2 is not known");
        assert_eq!(Listed::from_bytes(&[]), Err(ManifestError::Truncated));
        // Eleven bytes of a number, and one of 65 bits.
        let mut long = vec![VERSION];
        long.extend([0x80; 10]);
        long.push(1);
        assert_eq!(Listed::from_bytes(&long), Err(ManifestError::Range));
        let mut wide = vec![VERSION];
        wide.extend([0xff; 9]);
        wide.push(2);
        assert_eq!(Listed::from_bytes(&wide), Err(ManifestError::Range));
    }
}
