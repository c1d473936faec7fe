use super::super::text;
use super::*;
use crate::aggregations::{ErrorBound, Ordered};
use proptest::prelude::*;

/// 2026-11-25T18:00:00Z
const END_MS: i64 = 1_795_629_600_000;

fn ordered<'a>(entries: impl IntoIterator<Item = (&'a str, u64)>) -> Ordered {
    let entries = entries.into_iter();
    Ordered(entries.map(|(name, n)| (name.to_owned(), n)).collect())
}

fn slot<R>(result: R) -> Slot<R> {
    Slot {
        window: Window {
            start_ms: END_MS - 300_000,
            end_ms: END_MS,
        },
        updated_ms: END_MS - 40_000,
        approximate: false,
        error_bound: None,
        result,
    }
}

fn view() -> View {
    let pages = PageView {
        total_page_views: 12_480,
        unique_pages: 57,
        top_pages: ordered([
            ("/", 4_100),
            ("/product/mug", 2_050),
            ("/product/商品一覧", 820),
            (
                "/a/very/long/path/that/never/ends/and/goes/on/until/nobody/reads/it/any/more",
                9,
            ),
        ]),
        unique_users_by_page: ordered([("/", 390), ("/product/mug", 120)]),
        browser_distribution: ordered([("Chrome", 8_000), ("Firefox", 4_475), ("unknown", 5)]),
    };
    let funnel = ConversionFunnel {
        funnel_counts: ordered([
            ("landing", 512),
            ("product_view", 9_611),
            ("add_to_cart", 44),
            ("checkout_start", 20),
            ("purchase", 21),
        ]),
        conversion_rates: [
            ("landing_rate", 1.0),
            ("product_view_rate", 0.75),
            ("add_to_cart_rate", 0.1),
            ("checkout_start_rate", 0.05),
            ("purchase_rate", 0.0525),
        ]
        .map(|(step, rate)| (step.to_owned(), rate))
        .into(),
        total_users_in_funnel: 400,
    };
    View {
        url: "http://127.0.0.1:8080/v1/aggregations".to_owned(),
        answered: true,
        trouble: None,
        pages: Some(slot(pages)),
        funnel: Some(slot(funnel)),
        views_per_second: Some(41.26),
        events_per_second: Some(1_234.0),
    }
}

fn shown(view: &View, columns: u16, lines: u16) -> String {
    text(&compose(view, columns, lines, END_MS - 38_000))
}

#[test]
fn eighty_columns() {
    let expected = "\
freshet top · http://127.0.0.1:8080/v1/aggregations
17:55–18:00 UTC · updated 2 s ago · exact
1,234 events/s · 41.3 page views/s · 12,480 page views of 57 pages, 48.0/s

Conversion funnel of 400 users                     users    rate    drop  events
landing        █████████████████████████████████     400  100.0%       –     512
product view   ████████████████████████▊             300   75.0%   25.0%   9,611
add to cart    ███▎                                   40   10.0%   86.7%      44
checkout start █▋                                     20    5.0%   50.0%      20
purchase       █▊                                     21    5.2%       –      21

Top pages                                                          views   users
/                                    ███████████████████████████   4,100     390
/product/mug                         █████████████▌                2,050     120
/product/商品一覧                    █████▍                          820       –
/a/very/long/path/that/never/ends/a… ▏                                 9       –

Browsers                                                           views   share
Chrome           ██████████████████████████████▏                   8,000   64.1%
Firefox          ████████████████▉                                 4,475   35.9%
unknown          ▏                                                     5   <0.1%
";
    assert_eq!(shown(&view(), 80, 60), expected);
}

#[test]
fn forty_columns() {
    let expected = "\
freshet top
http://127.0.0.1:8080/v1/aggregations
17:55–18:00 UTC · updated 2 s ago
exact
1,234 events/s · 41.3 page views/s
12,480 page views of 57 pages, 48.0/s

Funnel of 400 users  users   rate   drop
landing        ████    400 100.0%      –
product view   ███     300  75.0%  25.0%
add to cart    ▍        40  10.0%  86.7%
checkout start ▎        20   5.0%  50.0%
purchase       ▎        21   5.2%      –

Top pages                   views  users
/                  ███████  4,100    390
/product/mug       ███▌     2,050    120
/product/商品一覧  █▍         820      –
/a/very/long/path… ▏            9      –

Browsers                    views  share
Chrome           █████▊     8,000  64.1%
Firefox          ███▎       4,475  35.9%
unknown          ▏              5  <0.1%
";
    assert_eq!(shown(&view(), 40, 60), expected);
}

#[test]
fn two_columns_where_there_is_room() {
    let expected = "\
freshet top · http://127.0.0.1:8080/v1/aggregations
17:55–18:00 UTC · updated 2 s ago · exact
1,234 events/s · 41.3 page views/s · 12,480 page views of 57 pages, 48.0/s

Funnel of 400 users          users    rate    drop  events    Top pages                                    views   users
landing        ███████████     400  100.0%       –     512    /                          ███████████████   4,100     390
product view   ████████▎       300   75.0%   25.0%   9,611    /product/mug               ███████▌          2,050     120
add to cart    █▏               40   10.0%   86.7%      44    /product/商品一覧          ███                 820       –
checkout start ▌                20    5.0%   50.0%      20    /a/very/long/path/that/ne… ▏                     9       –
purchase       ▋                21    5.2%       –      21

Browsers                                     views   share
Chrome           ████████████████            8,000   64.1%
Firefox          █████████                   4,475   35.9%
unknown          ▏                               5   <0.1%
";
    assert_eq!(shown(&view(), 120, 60), expected);
}

#[test]
fn a_low_terminal_has_what_matters_most() {
    let found = shown(&view(), 80, 14);
    assert_eq!(found.lines().count(), 14, "{found}");
    assert!(
        found.contains("purchase") && !found.contains("Browsers"),
        "{found}"
    );
    for lines in 0..30 {
        let frame = compose(&view(), 80, lines, END_MS);
        assert!(frame.len() <= usize::from(lines));
    }
}

#[test]
fn an_estimate_says_so_and_how_good_it_is() {
    let mut view = view();
    let pages = view.pages.as_mut().unwrap();
    pages.approximate = true;
    pages.error_bound = Some(ErrorBound {
        events: 0.0004,
        users: 0.026,
    });
    let found = shown(&view, 80, 60);
    let bound = "approximate\nevents at most <0.1% too few, users ±2.6%\n";
    assert!(found.contains(bound) && !found.contains("exact"), "{found}");
}

#[test]
fn an_old_window_is_not_taken_for_now_and_one_behind_is_named() {
    let mut view = view();
    let funnel = view.funnel.as_mut().unwrap();
    funnel.window.end_ms -= 60_000;
    funnel.window.start_ms -= 60_000;
    let found = text(&compose(&view, 80, 60, END_MS + 200_000));
    let wanted = "17:55–18:00 UTC · updated 4 min ago · ended 3 min ago, nothing since · exact";
    assert!(found.contains(wanted), "{found}");
    view.trouble = Some("no answer".to_owned());
    let found = text(&compose(&view, 80, 60, END_MS + 200_000));
    assert!(found.contains("ended 3 min ago · exact"), "{found}");
    let title = "Conversion funnel of 400 users, 17:54–17:59 UTC";
    assert!(found.contains(title), "{found}");
}

#[test]
fn before_during_and_after_trouble() {
    let asking = shown(&View::default(), 80, 24);
    assert_eq!(asking, "freshet top\nasking …\n");
    let empty = View {
        answered: true,
        url: "http://127.0.0.1:8080".to_owned(),
        ..View::default()
    };
    let found = shown(&empty, 80, 24);
    assert!(
        found.contains("Nothing was counted") && found.contains("./freshet send"),
        "{found}"
    );
    let failing = View {
        trouble: Some("http://127.0.0.1:8080 does not answer: Connection refused".to_owned()),
        ..view()
    };
    let found = shown(&failing, 40, 60);
    assert!(
        found.contains("does not answer:") && found.contains("landing"),
        "{found}"
    );
    let failing = View {
        answered: false,
        trouble: failing.trouble,
        ..View::default()
    };
    let found = shown(&failing, 80, 24);
    assert_eq!(
        found,
        "freshet top\nhttp://127.0.0.1:8080 does not answer: Connection refused\n"
    );
}

proptest! {
    #[test]
    fn no_line_is_wider_than_there_is_room(
        columns in 1_u16..200,
        lines in 0_u16..60,
        page in ".{0,60}",
        number in any::<u64>(),
        rate in any::<f64>(),
    ) {
        let mut view = view();
        let pages = &mut view.pages.as_mut().unwrap().result;
        pages.top_pages.0.insert(0, (page.clone(), number));
        pages.browser_distribution.0 = vec![(page.clone(), 1)];
        pages.total_page_views = number;
        let funnel = &mut view.funnel.as_mut().unwrap().result;
        funnel.funnel_counts.0[0] = (page, number);
        funnel.conversion_rates.insert("purchase_rate".to_owned(), rate);
        let frame = compose(&view, columns, lines, END_MS);
        prop_assert!(frame.len() <= usize::from(lines));
        for line in &frame {
            let written: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
            prop_assert!(!written.chars().any(char::is_control), "{written:?}");
            // A single word of the head may be longer than a very narrow terminal: it is cut there.
            if columns >= 40 {
                prop_assert!(line.width() <= usize::from(columns), "{written:?}");
            }
        }
    }
}
