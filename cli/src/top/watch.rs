//! What is known at the moment, asked for again and again.

use super::door::Door;
use super::pace::Pace;
use crate::aggregations::{Aggregations, ConversionFunnel, Followed, PageView, Slot};
use crate::paths::Paths;
use crate::stack::Endpoints;
use std::path::PathBuf;
use std::time::Instant;

/// Whose numbers are shown.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// An API's.
    Url {
        url: String,
        read_key: Option<String>,
    },
    /// The local stack's with this state.
    Stack(Option<PathBuf>),
}

/// Everything that a frame is made from.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Where the numbers come from.
    pub(super) url: String,
    /// Whether anybody has answered yet.
    pub(super) answered: bool,
    /// Why the numbers may be old.
    pub(super) trouble: Option<String>,
    pub(super) pages: Option<Slot<PageView>>,
    pub(super) funnel: Option<Slot<ConversionFunnel>>,
    /// The change of the totals.
    pub(super) views_per_second: Option<f64>,
    /// What a local stack's collect has received.
    pub(super) events_per_second: Option<f64>,
}

pub(super) struct Watch {
    source: Source,
    api: Option<Aggregations>,
    door: Option<Door>,
    pages: Followed<PageView>,
    funnel: Followed<ConversionFunnel>,
    pace: Pace,
    view: View,
}

impl Watch {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            api: None,
            door: None,
            pages: Followed::new("page_view"),
            funnel: Followed::new("conversion_funnel"),
            pace: Pace::default(),
            view: View::default(),
        }
    }

    /// Asks once more. Whatever happens is in the view.
    pub(super) async fn look(&mut self, now_ms: i64) -> View {
        let trouble = self.refresh().await.err();
        let view = &mut self.view;
        view.answered |= trouble.is_none();
        view.trouble = trouble.map(|error| told(&error));
        view.pages.clone_from(&self.pages.slot);
        view.funnel.clone_from(&self.funnel.slot);
        if let Some(slot) = &view.pages {
            let total = slot.result.total_page_views;
            self.pace.add(slot.window.end_ms, slot.updated_ms, total);
        }
        // Read on even if it is not shown, or what came meanwhile would come at once.
        let events = match &mut self.door {
            Some(door) => door.look(Instant::now()),
            None => None,
        };
        let is_now = view.trouble.is_none();
        view.events_per_second = events.filter(|_| is_now);
        let views = self.pace.per_second(now_ms);
        view.views_per_second = views.filter(|_| is_now);
        view.clone()
    }

    async fn refresh(&mut self) -> anyhow::Result<()> {
        let api = match &self.api {
            Some(api) => api.clone(),
            None => self.connect()?,
        };
        let (pages, funnel) = tokio::join!(self.pages.refresh(&api), self.funnel.refresh(&api));
        if pages.is_err() || funnel.is_err() {
            // A stack that went down may come up at another address.
            self.api = None;
        }
        pages?;
        funnel?;
        Ok(())
    }

    fn connect(&mut self) -> anyhow::Result<Aggregations> {
        let (url, read_key) = match &self.source {
            Source::Url { url, read_key } => (url.clone(), read_key.clone()),
            Source::Stack(state) => {
                let paths = Paths::new(state.as_deref())?;
                let Ok(endpoints) = Endpoints::read(paths.state()) else {
                    anyhow::bail!(
                        "no stack is up here: `./freshet up` starts one, `--url` names another"
                    );
                };
                self.door.get_or_insert_with(|| Door::new(paths.state()));
                (endpoints.query_url, None)
            }
        };
        self.view.url.clone_from(&url);
        let api = Aggregations::new(&url, read_key)?;
        self.api = Some(api.clone());
        Ok(api)
    }
}

/// What went wrong, and the cause at its root: what is between them are the
/// layers of a client.
fn told(error: &anyhow::Error) -> String {
    let root = error.root_cause().to_string();
    let first = error.to_string();
    if first == root {
        first
    } else {
        format!("{first}: {root}")
    }
}
