//! What a shard's chain puts at once: a table for each aggregator and pane.

use crate::stored::{Reader, StoredError, put_varint, unzigzag, zigzag};
use crate::table::Table;
use crate::windowing::Pane;

/// Tables by aggregator and pane.
#[derive(Debug, Default)]
pub struct Piece {
    /// Name of the aggregator, pane, table.
    pub tables: Vec<(String, Pane, Table)>,
}

const VERSION: u8 = 1;

impl Piece {
    /// Its bytes, in form 1: the form's number, how many tables there are, and
    /// of each the aggregator's name, the pane, and the table behind its length.
    #[must_use]
    pub fn encode(&mut self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.tables.len() as u64);
        for (aggregator, pane, table) in &mut self.tables {
            put_varint(&mut bytes, aggregator.len() as u64);
            bytes.extend_from_slice(aggregator.as_bytes());
            put_varint(&mut bytes, zigzag(pane.0));
            let table = table.encode();
            put_varint(&mut bytes, table.len() as u64);
            bytes.extend_from_slice(&table);
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
        let mut tables = Vec::new();
        for _ in 0..reader.length()? {
            let aggregator = reader.text()?.to_owned();
            let pane = Pane(unzigzag(reader.varint()?));
            let length = reader.length()?;
            tables.push((aggregator, pane, Table::decode(reader.skip(length)?)?));
        }
        Ok(Self { tables })
    }

    /// The panes it touches, in order.
    #[must_use]
    pub fn panes(&self) -> Vec<Pane> {
        let mut panes: Vec<Pane> = self.tables.iter().map(|(_, pane, _)| *pane).collect();
        panes.sort();
        panes.dedup();
        panes
    }
}
