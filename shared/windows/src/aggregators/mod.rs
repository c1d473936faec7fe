//! The aggregators, and their registry.

mod conversion_funnel;
mod page_view;
mod probe;

use crate::aggregator::Aggregator;
use std::sync::Arc;

/// The aggregators that a function runs, in the order of their registration.
#[derive(Clone)]
pub struct Registry {
    aggregators: Vec<Arc<dyn Aggregator>>,
}

impl Registry {
    /// Every aggregator of Freshet. A new one is added here.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new([
            Arc::new(page_view::PageView) as Arc<dyn Aggregator>,
            Arc::new(conversion_funnel::ConversionFunnel),
            Arc::new(probe::Probe),
        ])
    }

    /// These aggregators. Of several with one name, the first.
    #[must_use]
    pub fn new(aggregators: impl IntoIterator<Item = Arc<dyn Aggregator>>) -> Self {
        let mut registry = Self {
            aggregators: Vec::new(),
        };
        for aggregator in aggregators {
            if registry.get(aggregator.name()).is_none() {
                registry.aggregators.push(aggregator);
            }
        }
        registry
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Aggregator>> {
        self.aggregators.iter()
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Aggregator>> {
        self.iter().find(|aggregator| aggregator.name() == name)
    }
}
