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
    /// Adds what these tables have. Once their union takes more than
    /// `budget_bytes` of memory it turns into a sketch, for good; what is in
    /// several of them takes its room once.
    pub fn unite(&mut self, tables: &[Table], budget_bytes: usize) {
        for table in tables {
            match self {
                Self::Sketch(sketch) => sketch.absorb(table),
                Self::Exact(exact) => {
                    let united = exact.unite(table).is_ok();
                    if exact.memory_bytes() > budget_bytes {
                        // Perhaps it is full of repetitions.
                        exact.seal();
                    }
                    if !united || exact.memory_bytes() > budget_bytes {
                        exact.seal();
                        let mut sketch = Box::<Sketch>::default();
                        sketch.absorb(exact);
                        if !united {
                            sketch.absorb(table);
                        }
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
