//! Sorted hashes in few bits: gaps in Golomb-Rice code.
//!
//! `n` hashes of `b` bits, sorted, take about `n × (b − log₂ n + 1.5)` bits:
//! close to the least that any code needs for a set without structure (the
//! source of the formula is Golomb's optimal code for geometric gaps).

use crate::stored::{Reader, StoredError, put_varint};

/// Appends the code of `sorted` (ascending, distinct) to `bytes`.
pub(crate) fn put_sorted(bytes: &mut Vec<u8>, sorted: &[u64]) {
    put_varint(bytes, sorted.len() as u64);
    let (Some(&last), true) = (sorted.last(), !sorted.is_empty()) else {
        return;
    };
    let shift = rice_parameter(last, sorted.len());
    bytes.push(shift);
    let mut writer = BitWriter::new(bytes);
    let mut previous = 0;
    for &value in sorted {
        let gap = value - previous;
        previous = value;
        writer.put_unary(gap >> shift);
        writer.put(gap & mask(shift), shift);
    }
    writer.finish();
}

/// Reads what [`put_sorted`] wrote.
pub(crate) fn take_sorted(reader: &mut Reader<'_>) -> Result<Vec<u64>, StoredError> {
    let length = reader.length()?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let shift = reader.byte()?;
    if shift >= 64 {
        return Err(StoredError::Damaged);
    }
    let mut bits = BitReader::new(reader.rest());
    let mut sorted = Vec::with_capacity(length);
    let mut value = 0_u64;
    for _ in 0..length {
        let gap = bits
            .unary()?
            .checked_shl(u32::from(shift))
            .ok_or(StoredError::Damaged)?
            | bits.take(shift)?;
        value = value.checked_add(gap).ok_or(StoredError::Damaged)?;
        sorted.push(value);
    }
    let used = bits.bytes_used();
    reader.skip(used)?;
    Ok(sorted)
}

/// The number of low bits that are written as they are: log₂ of the mean gap × ln 2.
fn rice_parameter(last: u64, length: usize) -> u8 {
    let mean = last / length as u64;
    // 177/256 ≈ ln 2.
    let scaled = u128::from(mean) * 177 / 256;
    let bits = u128::BITS - scaled.max(1).leading_zeros() - 1;
    u8::try_from(bits.min(63)).unwrap_or(63)
}

const fn mask(bits: u8) -> u64 {
    (1 << bits) - 1
}

/// Writes bits, the lowest first.
pub(crate) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) const fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            pending: 0,
            used: 0,
        }
    }

    /// The lowest `bits` (up to 63) bits of `value`, which has no others.
    pub(crate) fn put(&mut self, value: u64, bits: u8) {
        let bits = u32::from(bits);
        self.pending |= value << self.used;
        if self.used + bits < 64 {
            self.used += bits;
            return;
        }
        self.bytes.extend_from_slice(&self.pending.to_le_bytes());
        let written = 64 - self.used;
        self.pending = if written < 64 { value >> written } else { 0 };
        self.used = bits - written;
    }

    /// `count` zeros and a one.
    pub(crate) fn put_unary(&mut self, mut count: u64) {
        while count >= 32 {
            self.put(0, 32);
            count -= 32;
        }
        // Below 32, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        self.put(1 << count, count as u8 + 1);
    }

    /// Fills the last byte with zeros.
    pub(crate) fn finish(self) {
        let bytes = self.used.div_ceil(8) as usize;
        self.bytes
            .extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
    }
}

/// Reads what [`BitWriter`] wrote.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The 64 bits from the position on, or as many as there are, and how many
    /// of them are certain: at least 57, unless the end is near.
    fn ahead(&self) -> (u64, u32) {
        let from = self.position / 8;
        let skipped = self.position % 8;
        let mut window = [0; 8];
        let available = self.bytes.len().saturating_sub(from).min(8);
        if available > 0 {
            window[..available].copy_from_slice(&self.bytes[from..from + available]);
        }
        let certain = (available * 8).saturating_sub(skipped);
        // At most 64.
        #[allow(clippy::cast_possible_truncation)]
        (u64::from_le_bytes(window) >> skipped, certain as u32)
    }

    pub(crate) fn take(&mut self, bits: u8) -> Result<u64, StoredError> {
        if bits > 56 {
            let low = self.take(32)?;
            return Ok(low | self.take(bits - 32)? << 32);
        }
        let (ahead, certain) = self.ahead();
        if certain < u32::from(bits) {
            return Err(StoredError::Damaged);
        }
        self.position += usize::from(bits);
        Ok(ahead & mask(bits))
    }

    pub(crate) fn unary(&mut self) -> Result<u64, StoredError> {
        let mut count = 0;
        loop {
            let (ahead, certain) = self.ahead();
            let zeros = ahead.trailing_zeros().min(certain);
            count += u64::from(zeros);
            self.position += zeros as usize;
            if zeros < certain {
                self.position += 1;
                return Ok(count);
            }
            if certain == 0 {
                return Err(StoredError::Damaged);
            }
        }
    }

    pub(crate) const fn bytes_used(&self) -> usize {
        self.position.div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coded(sorted: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_sorted(&mut bytes, sorted);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            set in prop::collection::btree_set(any::<u64>().prop_map(|n| n >> 1), 0..200),
            width in 1_u32..64, after in any::<[u8; 3]>()
        ) {
            let sorted: std::collections::BTreeSet<u64> =
                set.into_iter().map(|n| n & ((1_u64 << width) - 1)).collect();
            let sorted: Vec<u64> = sorted.into_iter().collect();
            let mut bytes = coded(&sorted);
            bytes.extend_from_slice(&after);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(take_sorted(&mut reader).unwrap(), sorted);
            prop_assert_eq!(reader.rest(), &after);
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_set(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(set) = take_sorted(&mut Reader::new(&bytes)) {
                prop_assert!(set.is_sorted());
            }
        }
    }

    #[test]
    fn hashes_take_little_more_than_the_formula_says() {
        // 45,000 hashes of 42 bits, from a generator without structure.
        let hash = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) >> 22;
        let mut sorted: Vec<u64> = (0..45_000).map(hash).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let n = sorted.len() as f64;
        let formula_bytes = n * (42.0 - n.log2() + 1.5) / 8.0;
        let bytes = coded(&sorted).len() as f64;
        assert!((0.97..1.02).contains(&(bytes / formula_bytes)), "{bytes}");
    }
}
