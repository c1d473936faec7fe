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

#[cfg(test)]
mod tests {
    use super::*;
    use wiremock::matchers::{header, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    /// Text: a `Value` would put the pages into another order.
    const PAGES: &str = r#"{
        "name": "page_view",
        "window": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:05:00Z", "seconds": 300},
        "updated_at": "1970-01-01T00:01:00Z",
        "approximate": false,
        "result": {
            "total_page_views": 3, "unique_pages": 2, "top_pages": {"/product": 2, "/": 1},
            "unique_users_by_page": {"/product": 1, "/": 1}, "browser_distribution": {"unknown": 3},
            "window_start": 0, "window_end": 300
        }
    }"#;

    #[tokio::test]
    async fn trouble_keeps_what_was_known_and_goes_away_with_an_answer() {
        let server = MockServer::start().await;
        let pages = ResponseTemplate::new(200)
            .insert_header("etag", "\"p\"")
            .set_body_string(PAGES);
        let ours = |name: &str| {
            Mock::given(path(format!("/v1/aggregations/{name}")))
                .and(header("authorization", "Bearer k"))
        };
        ours("conversion_funnel")
            .respond_with(ResponseTemplate::new(404).set_body_string(r#"{"code":"no_result"}"#))
            .mount(&server)
            .await;
        let answers = [
            pages,
            ResponseTemplate::new(503).set_body_string(r#"{"detail":"not at the moment"}"#),
            ResponseTemplate::new(304),
        ];
        for (priority, answer) in (1..).zip(answers) {
            let mock = ours("page_view").respond_with(answer);
            mock.up_to_n_times(1)
                .with_priority(priority)
                .mount(&server)
                .await;
        }
        let mut watch = Watch::new(Source::Url {
            url: server.uri(),
            read_key: Some("k".to_owned()),
        });
        let first = watch.look(61_000).await;
        assert_eq!(first.trouble, None);
        assert_eq!(first.pages.unwrap().result.top_pages.0[0].0, "/product");
        assert!(first.answered && first.funnel.is_none());

        let second = watch.look(62_000).await;
        let trouble = second.trouble.unwrap();
        assert!(trouble.ends_with("503: not at the moment"), "{trouble}");
        assert!(second.pages.is_some() && second.views_per_second.is_none());

        let third = watch.look(63_000).await;
        assert_eq!(third.trouble, None);
        assert!(third.pages.is_some());
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_told() {
        let source = Source::Url {
            url: "shop.example".to_owned(),
            read_key: None,
        };
        let view = Watch::new(source).look(0).await;
        assert!(!view.answered);
        assert!(view.trouble.unwrap().contains("shop.example is not"));
    }
}
