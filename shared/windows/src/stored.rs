//! Reading and writing what is stored: variable-length numbers, counted
//! blocks, and the error of bytes that this crate did not write.

use thiserror::Error;

/// Why stored bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoredError {
    /// Written by a release that knows another form.
    #[error("form {0} is not known")]
    Version(u8),
    /// Not what this crate writes.
    #[error("the bytes are damaged")]
    Damaged,
}

impl StoredError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version(_) => "stored_version_unknown",
            Self::Damaged => "stored_damaged",
        }
    }
}

const ZSTD_LEVEL: i32 = 3;
/// A block inflates to at most this many bytes.
pub(crate) const MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;

pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The lowest seven bits.
        #[allow(clippy::cast_possible_truncation)]
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    // Below 128.
    #[allow(clippy::cast_possible_truncation)]
    bytes.push(value as u8);
}

/// Small negative numbers stay small.
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// A block of bytes, compressed if that makes it smaller.
pub(crate) fn put_block(bytes: &mut Vec<u8>, block: &[u8]) {
    let compressed = (block.len() > 64)
        .then(|| zstd::bulk::compress(block, ZSTD_LEVEL).ok())
        .flatten()
        .filter(|compressed| compressed.len() < block.len());
    let (inflated, data) = match &compressed {
        Some(compressed) => (block.len() as u64, compressed.as_slice()),
        None => (0, block),
    };
    put_varint(bytes, inflated);
    put_varint(bytes, data.len() as u64);
    bytes.extend_from_slice(data);
}

/// Reads from the front.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StoredError> {
        let (&first, rest) = self.bytes.split_first().ok_or(StoredError::Damaged)?;
        self.bytes = rest;
        Ok(first)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<&'a [u8], StoredError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(StoredError::Damaged)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, StoredError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StoredError::Damaged)
    }

    /// A number of things of at least one bit each, so no more than there are
    /// bits left: what is reserved for them is never more than the bytes warrant.
    pub(crate) fn length(&mut self) -> Result<usize, StoredError> {
        let length = usize::try_from(self.varint()?).map_err(|_| StoredError::Damaged)?;
        if length <= self.bytes.len().saturating_mul(8) {
            Ok(length)
        } else {
            Err(StoredError::Damaged)
        }
    }

    pub(crate) fn block(&mut self) -> Result<Vec<u8>, StoredError> {
        let inflated = usize::try_from(self.varint()?).map_err(|_| StoredError::Damaged)?;
        let length = self.length()?;
        let data = self.skip(length)?;
        if inflated == 0 {
            return Ok(data.to_vec());
        }
        if inflated > MAX_BLOCK_BYTES {
            return Err(StoredError::Damaged);
        }
        let block = zstd::bulk::decompress(data, inflated).map_err(|_| StoredError::Damaged)?;
        if block.len() == inflated {
            Ok(block)
        } else {
            Err(StoredError::Damaged)
        }
    }

    /// Text behind its length.
    pub(crate) fn text(&mut self) -> Result<&'a str, StoredError> {
        let length = self.length()?;
        std::str::from_utf8(self.skip(length)?).map_err(|_| StoredError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>(), signed in any::<i64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn blocks_come_back(block in prop::collection::vec(0_u8..4, 0..500)) {
            let mut bytes = Vec::new();
            put_block(&mut bytes, &block);
            prop_assert_eq!(Reader::new(&bytes).block(), Ok(block));
        }
    }

    #[test]
    fn an_endless_number_is_damage() {
        assert_eq!(Reader::new(&[0xff; 20]).varint(), Err(StoredError::Damaged));
    }
}
