//! What a metric can be: a sum, a gauge, or a family of sums by a word of ours.

use metrique::emf::NoMetric;
use metrique::unit;
use metrique::writer::unit::UnitTag;
use metrique::writer::{Entry, EntryWriter, MetricFlags, Observation, Value, ValueWriter};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Adds up over an invocation. Nothing is written of 0.
pub struct Sum<U> {
    total: u64,
    unit: PhantomData<U>,
}

/// Things.
pub type Count = Sum<unit::Count>;
/// Bytes.
pub type Bytes = Sum<unit::Byte>;

impl<U> Sum<U> {
    /// Adds; what is beyond `u64` stays at its end.
    pub fn add(&mut self, more: impl TryInto<u64>) {
        let more = more.try_into().unwrap_or(u64::MAX);
        self.total = self.total.saturating_add(more);
    }

    /// How much it is.
    #[must_use]
    pub const fn get(&self) -> u64 {
        self.total
    }
}

impl<U> Default for Sum<U> {
    fn default() -> Self {
        Self::from(0)
    }
}

impl<U> From<u64> for Sum<U> {
    fn from(total: u64) -> Self {
        Self {
            total,
            unit: PhantomData,
        }
    }
}

impl<U> fmt::Debug for Sum<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.total.fmt(f)
    }
}

impl<U: UnitTag> Value for Sum<U> {
    fn write(&self, writer: impl ValueWriter) {
        if self.total > 0 {
            let total = Observation::Unsigned(self.total);
            writer.metric([total], U::UNIT, [], MetricFlags::empty());
        }
    }
}

/// How something stands. What is known is written, 0 too; nothing is written
/// of what is not known.
pub struct Gauge<U> {
    known: Option<f64>,
    unit: PhantomData<U>,
}

/// A number, or one of some states.
pub type Level = Gauge<unit::Count>;
/// Percent, from 0 to 100.
pub type Percent = Gauge<unit::Percent>;
/// Milliseconds.
pub type Millis = Gauge<unit::Millisecond>;

impl<U> Gauge<U> {
    /// What is known.
    #[must_use]
    pub const fn get(&self) -> Option<f64> {
        self.known
    }
}

impl<U> Default for Gauge<U> {
    fn default() -> Self {
        Self::from(None::<f64>)
    }
}

impl<U> From<Option<f64>> for Gauge<U> {
    fn from(known: Option<f64>) -> Self {
        Self {
            known,
            unit: PhantomData,
        }
    }
}

impl<U> From<f64> for Gauge<U> {
    fn from(known: f64) -> Self {
        Self::from(Some(known))
    }
}

impl<U> From<Option<u64>> for Gauge<U> {
    fn from(known: Option<u64>) -> Self {
        // Exact below 2^53, which no gauge of ours reaches.
        #[allow(clippy::cast_precision_loss)]
        Self::from(known.map(|known| known as f64))
    }
}

impl<U> From<u64> for Gauge<U> {
    fn from(known: u64) -> Self {
        Self::from(Some(known))
    }
}

impl<U> From<bool> for Gauge<U> {
    fn from(known: bool) -> Self {
        Self::from(u64::from(known))
    }
}

impl<U> fmt::Debug for Gauge<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.fmt(f)
    }
}

impl<U: UnitTag> Value for Gauge<U> {
    fn write(&self, writer: impl ValueWriter) {
        if let Some(known) = self.known {
            let known = Observation::Floating(known);
            writer.metric([known], U::UNIT, [], MetricFlags::empty());
        }
    }
}

/// What the names of a family of metrics begin with.
pub trait Family {
    /// The part before the dot.
    const NAME: &'static str;
}

/// A metric for each word: `Rejected.<code>`. A word is one of the program's
/// own, so nobody outside can make a name: `&'static str` holds them to it.
pub struct ByWord<F, V> {
    by_word: BTreeMap<&'static str, V>,
    family: PhantomData<F>,
}

impl<F, V> ByWord<F, V> {
    /// The value of this word, if there is one.
    #[must_use]
    pub fn get(&self, word: &str) -> Option<&V> {
        self.by_word.get(word)
    }

    /// Takes the place of what the word had.
    pub fn set(&mut self, word: &'static str, value: V) {
        self.by_word.insert(word, value);
    }
}

impl<F> ByWord<F, Count> {
    /// Adds to a word's sum.
    pub fn add(&mut self, word: &'static str, more: impl TryInto<u64>) {
        self.by_word.entry(word).or_default().add(more);
    }
}

impl<F, V> Default for ByWord<F, V> {
    fn default() -> Self {
        Self {
            by_word: BTreeMap::new(),
            family: PhantomData,
        }
    }
}

impl<F, V: fmt::Debug> fmt::Debug for ByWord<F, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_word.fmt(f)
    }
}

impl<F: Family, V: Value> Entry for ByWord<F, V> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        for (word, value) in &self.by_word {
            writer.value(format!("{}.{word}", F::NAME), value);
        }
    }
}

/// A number that stands in the line and is no metric. Nothing is written of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note(pub u64);

impl Value for Note {
    fn write(&self, writer: impl ValueWriter) {
        if self.0 > 0 {
            NoMetric::from(self.0).write(writer);
        }
    }
}

/// A word that stands in the line. Nothing is written of an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub String);

impl Value for Word {
    fn write(&self, writer: impl ValueWriter) {
        if !self.0.is_empty() {
            writer.string(&self.0);
        }
    }
}
