//! Which pages are viewed, by how many, with which browsers.

use crate::aggregator::{Aggregator, AggregatorError, in_order, object};
use crate::contribution::Contribution;
use crate::observation::Observation;
use crate::totals::Totals;
use serde::Serialize;
use serde_json::value::RawValue;

const PAGE: &str = "page";
const BROWSER: &str = "browser";
const TOP_PAGES: usize = 10;
/// With more, a result would outgrow the table's items; and nobody reads it.
const LISTED_PAGES: usize = 1_000;
/// And their names may not take more than this: anybody can make up long ones.
const LISTED_BYTES: usize = 200_000;
/// There are not so many browsers; but anybody can make up user agents.
const LISTED_BROWSERS: usize = 100;

/// `page_view` events: in all, by page and by browser.
pub(crate) struct PageView;

impl Aggregator for PageView {
    fn name(&self) -> &'static str {
        "page_view"
    }

    fn description(&self) -> &'static str {
        "Page views by page and browser, and each page's distinct users"
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        if event.event_type == "page_view" {
            to.event(PAGE, &event.path);
            to.event(BROWSER, event.browser);
        }
        Ok(())
    }

    fn result(&self, totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        let pages = totals.values(PAGE);
        let browsers = totals.values(BROWSER);
        let mut bytes = 0;
        let fit = pages.iter().take(LISTED_PAGES).take_while(|(page, _)| {
            bytes += page.len();
            bytes <= LISTED_BYTES
        });
        let listed = &pages[..fit.count()];
        object(&PageViews {
            total_page_views: totals.events(PAGE),
            unique_pages: totals.distinct(PAGE),
            top_pages: pages
                .iter()
                .take(TOP_PAGES)
                .map(|(page, n)| (*page, n.events))
                .collect(),
            unique_users_by_page: listed.iter().map(|(page, n)| (*page, n.users)).collect(),
            browser_distribution: browsers
                .iter()
                .take(LISTED_BROWSERS)
                .map(|(name, n)| (*name, n.events))
                .collect(),
            window_start: totals.window().start_s,
            window_end: totals.window().end_s,
        })
    }
}

/// The article's fields; `unique_users_by_page` has the thousand pages with the
/// most views at most, `browser_distribution` the hundred browsers. Objects are in the order of events, the most first.
#[derive(Serialize)]
struct PageViews<'a> {
    total_page_views: u64,
    unique_pages: u64,
    #[serde(serialize_with = "in_order")]
    top_pages: Vec<(&'a str, u64)>,
    #[serde(serialize_with = "in_order")]
    unique_users_by_page: Vec<(&'a str, u64)>,
    #[serde(serialize_with = "in_order")]
    browser_distribution: Vec<(&'a str, u64)>,
    /// Seconds since 1970.
    window_start: i64,
    window_end: i64,
}
