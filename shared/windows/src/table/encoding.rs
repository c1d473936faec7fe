//! A table as bytes.

use super::{CELL_BITS, CellTraits, EVENT_BITS, HASH_BITS, MAX_CELL_BYTES, Row, SessionRow, Table};
use crate::bits::{BitReader, BitWriter, put_sorted, take_sorted};
use crate::contribution::keys;
use crate::stored::{Reader, StoredError, put_block, put_varint, unzigzag, zigzag};

pub(super) const VERSION: u8 = 1;

impl Table {
    /// The table's bytes, in form 1:
    ///
    /// | part | as |
    /// |---|---|
    /// | form | one byte |
    /// | cells, the most frequent first | count, block of (length, bytes) |
    /// | distinct users | sorted hashes, gaps in Golomb-Rice code |
    /// | rows of each user | unary |
    /// | cell of each row | one to three blocks, the lowest byte first |
    /// | event of each row that has one | 22 bits |
    /// | amount of each row that has one | block of zigzag varints |
    /// | sessions by cell | count, then cell and sorted hashes |
    #[must_use]
    pub fn encode(&mut self) -> Vec<u8> {
        self.seal();
        let (order, renumbered) = self.cells_by_frequency();
        let mut bytes = Vec::with_capacity(self.rows.len() * 8 + 64);
        bytes.push(VERSION);
        let mut cells = Vec::new();
        for &cell in &order {
            put_varint(&mut cells, self.cells.bytes[cell].len() as u64);
            cells.extend_from_slice(&self.cells.bytes[cell]);
        }
        put_varint(&mut bytes, order.len() as u64);
        put_block(&mut bytes, &cells);

        // In the order of the new numbers, so that equal tables have equal bytes.
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .map(|row| row.in_cell(renumbered[row.cell()]))
            .collect();
        for rows in rows.chunk_by_mut(|a, b| a.user() == b.user()) {
            rows.sort_by_key(Row::order);
        }
        let by_user = || rows.chunk_by(|a, b| a.user() == b.user());
        let users: Vec<u64> = by_user().map(|rows| rows[0].user()).collect();
        put_sorted(&mut bytes, &users);
        let mut counts = BitWriter::new(&mut bytes);
        for rows in by_user() {
            counts.put_unary(rows.len() as u64 - 1);
        }
        counts.finish();

        let traits: Vec<CellTraits> = order
            .iter()
            .map(|&c| CellTraits::of(&self.cells.bytes[c]))
            .collect();
        for plane in 0..planes(order.len()) {
            // One byte of the number.
            #[allow(clippy::cast_possible_truncation)]
            let plane: Vec<u8> = rows
                .iter()
                .map(|row| (row.cell() >> (8 * plane)) as u8)
                .collect();
            put_block(&mut bytes, &plane);
        }
        let mut amounts = Vec::new();
        let mut events = BitWriter::new(&mut bytes);
        for row in &rows {
            let traits = &traits[row.cell()];
            if traits.has_identity {
                events.put(u64::from(row.event), EVENT_BITS as u8);
            }
            if traits.has_amount {
                put_varint(&mut amounts, zigzag(self.amount_micros(row)));
            }
        }
        events.finish();
        put_block(&mut bytes, &amounts);

        let mut by_cell: Vec<Vec<u64>> = vec![Vec::new(); order.len()];
        for row in &self.sessions {
            by_cell[renumbered[row.cell as usize] as usize].push(row.session);
        }
        put_varint(
            &mut bytes,
            by_cell
                .iter()
                .filter(|sessions| !sessions.is_empty())
                .count() as u64,
        );
        for (cell, sessions) in by_cell.iter().enumerate().filter(|(_, s)| !s.is_empty()) {
            put_varint(&mut bytes, cell as u64);
            put_sorted(&mut bytes, sessions);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`StoredError`] if it did not.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(StoredError::Version(version));
        }
        let mut table = Self::default();
        let count = reader.length()?;
        let block = reader.block()?;
        let mut cells = Reader::new(&block);
        let mut traits = Vec::new();
        for number in 0..count {
            let length = cells.length()?;
            let cell = cells.skip(length)?;
            if length > MAX_CELL_BYTES {
                return Err(StoredError::Damaged);
            }
            keys(cell)?;
            traits.push(CellTraits::of(cell));
            if table.cells.number(cell).map(|n| n as usize) != Some(number) {
                return Err(StoredError::Damaged);
            }
        }

        let users = take_sorted(&mut reader)?;
        let mut bits = BitReader::new(reader.rest());
        for &user in &users {
            if user >> HASH_BITS != 0 {
                return Err(StoredError::Damaged);
            }
            for _ in 0..=bits.unary()? {
                table.rows.push(Row {
                    user_and_cell: user << CELL_BITS,
                    event: 0,
                    amount: 0,
                });
            }
        }
        let used = bits.bytes_used();
        reader.skip(used)?;

        for plane in 0..planes(count) {
            let numbers = reader.block()?;
            if numbers.len() != table.rows.len() {
                return Err(StoredError::Damaged);
            }
            for (row, number) in table.rows.iter_mut().zip(numbers) {
                row.user_and_cell |= u64::from(number) << (8 * plane);
            }
        }
        if table.rows.iter().any(|row| row.cell() >= count) {
            return Err(StoredError::Damaged);
        }
        let mut events = BitReader::new(reader.rest());
        for row in table
            .rows
            .iter_mut()
            .filter(|row| traits[row.cell()].has_identity)
        {
            // 22 bits.
            #[allow(clippy::cast_possible_truncation)]
            {
                row.event = events.take(EVENT_BITS as u8)? as u32;
            }
        }
        let used = events.bytes_used();
        reader.skip(used)?;
        let block = reader.block()?;
        let mut amounts = Reader::new(&block);
        for place in 0..table.rows.len() {
            if traits[table.rows[place].cell()].has_amount {
                let micros = unzigzag(amounts.varint()?);
                table.rows[place].amount = table.add_amount(micros).ok_or(StoredError::Damaged)?;
            }
        }

        for _ in 0..reader.length()? {
            let cell = u32::try_from(reader.varint()?).map_err(|_| StoredError::Damaged)?;
            if cell as usize >= count {
                return Err(StoredError::Damaged);
            }
            let sessions = take_sorted(&mut reader)?;
            table.sessions.extend(
                sessions
                    .into_iter()
                    .map(|session| SessionRow { session, cell }),
            );
        }
        table.seal();
        Ok(table)
    }

    /// Cells that are in use, the most frequent first, and each cell's place there.
    fn cells_by_frequency(&self) -> (Vec<usize>, Vec<u32>) {
        let mut uses = vec![0_usize; self.cells.bytes.len()];
        for row in &self.rows {
            uses[row.cell()] += 1;
        }
        for row in &self.sessions {
            uses[row.cell as usize] += 1;
        }
        let mut order: Vec<usize> = (0..uses.len()).filter(|&cell| uses[cell] > 0).collect();
        order.sort_by(|&a, &b| {
            uses[b]
                .cmp(&uses[a])
                .then_with(|| self.cells.bytes[a].cmp(&self.cells.bytes[b]))
        });
        let mut renumbered = vec![0; uses.len()];
        for (place, &cell) in (0_u32..).zip(&order) {
            renumbered[cell] = place;
        }
        (order, renumbered)
    }
}

/// Bytes that number `cells` cells.
const fn planes(cells: usize) -> usize {
    match cells {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 3,
    }
}
