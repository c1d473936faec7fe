//! A pane's summary: exact while it fits its budget, estimated above it.

use crate::sketch::Sketch;
use crate::table::Table;

/// A pane's summary.
#[derive(Clone, Debug)]
pub enum Summary {
    /// Every event is known.
    Exact(Table),
    /// Estimates.
    Sketch(Box<Sketch>),
}

impl Default for Summary {
    fn default() -> Self {
        Self::Exact(Table::default())
    }
}

impl Summary {
    /// Adds what these tables have. Once it takes more than `budget_bytes` of
    /// memory it turns into a sketch, for good.
    pub fn unite(&mut self, tables: &[Table], budget_bytes: usize) {
        for table in tables {
            match self {
                Self::Sketch(sketch) => sketch.absorb(table),
                Self::Exact(exact) => {
                    let fits = exact.memory_bytes() + table.memory_bytes() <= budget_bytes
                        && exact.unite(table).is_ok();
                    if !fits {
                        exact.seal();
                        let mut sketch = Box::<Sketch>::default();
                        sketch.absorb(exact);
                        sketch.absorb(table);
                        *self = Self::Sketch(sketch);
                    }
                }
            }
        }
        if let Self::Exact(exact) = self {
            exact.seal();
        }
    }

    /// The table, if every event is known.
    #[must_use]
    pub const fn exact(&self) -> Option<&Table> {
        match self {
            Self::Exact(table) => Some(table),
            Self::Sketch(_) => None,
        }
    }
}
