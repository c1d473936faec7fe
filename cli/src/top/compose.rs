//! From what is known to the lines of a frame, as wide as there is room.

use super::watch::View;
use super::words::{
    age, bar, count, fit, harmless, pace, percent, right, share, width, within, wrapped,
};
use crate::aggregations::{ConversionFunnel, PageView, Slot, Window};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// From here on there are two columns.
const TWO_COLUMNS: usize = 110;
/// Wider lines are not easier to read.
const WIDEST: usize = 160;
/// After so long the next window would be there, had anything come.
const PUBLISHED_MS: i64 = 15_000;
/// Below this a bar says nothing.
const SHORTEST_BAR: usize = 3;
const GAP: usize = 4;
/// Below this everything is closer together.
const ROOMY: usize = 46;
const MOST_PAGES: usize = 10;
const MOST_BROWSERS: usize = 6;

const PLAIN: Style = Style::new();
const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const SOFT: Style = Style::new().add_modifier(Modifier::DIM);
const NOTICE: Style = Style::new().fg(Color::Yellow);
const TROUBLE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const STEPS: Style = Style::new().fg(Color::Cyan);
const PAGES: Style = Style::new().fg(Color::Green);
const BROWSERS: Style = Style::new().fg(Color::Magenta);

/// A frame of at most so many columns and lines.
pub(super) fn compose(view: &View, columns: u16, lines: u16, now_ms: i64) -> Vec<Line<'static>> {
    let columns = usize::from(columns).min(WIDEST);
    let mut frame = head(view, columns, now_ms);
    if view.pages.is_none() && view.funnel.is_none() {
        if view.answered && view.trouble.is_none() {
            let nothing = "Nothing was counted in the last windows. Send some events: ./freshet send --rate 50";
            frame.push(Line::default());
            frame.extend(paragraph(nothing, columns, NOTICE));
        }
        frame.truncate(usize::from(lines));
        return frame;
    }
    frame.push(Line::default());
    let room = usize::from(lines).saturating_sub(frame.len());
    frame.extend(body(view, columns, room));
    frame.truncate(usize::from(lines));
    frame
}

/// What the numbers are about, and how old they are.
fn head(view: &View, columns: usize, now_ms: i64) -> Vec<Line<'static>> {
    let name = Span::styled("freshet top", TITLE);
    let mut frame = flow(vec![name, Span::styled(harmless(&view.url), SOFT)], columns);
    if let Some(trouble) = &view.trouble {
        frame.extend(paragraph(trouble, columns, TROUBLE));
    } else if !view.answered {
        frame.push(Line::styled("asking …", SOFT));
    }
    let about = view.pages.as_ref().map(about);
    let about = about.or_else(|| view.funnel.as_ref().map(about_funnel));
    if let Some(about) = about {
        let is_known = view.trouble.is_none();
        frame.extend(flow(about.told(now_ms, is_known), columns));
    }
    let mut totals = Vec::new();
    if let Some(events) = view.events_per_second {
        totals.push(Span::styled(format!("{} events/s", pace(events)), TITLE));
    }
    if let Some(views) = view.views_per_second {
        totals.push(Span::styled(format!("{} page views/s", pace(views)), TITLE));
    }
    if let Some(slot) = &view.pages {
        let (total, pages) = (slot.result.total_page_views, slot.result.unique_pages);
        let of = format!("{} page views of {} pages", count(total), count(pages));
        let average = average(slot).map_or_else(String::new, |n| format!(", {}/s", pace(n)));
        totals.push(Span::raw(format!("{of}{average}")));
    }
    frame.extend(flow(totals, columns));
    frame
}

/// Views each second of the part of the window that has been counted.
fn average(slot: &Slot<PageView>) -> Option<f64> {
    let until = slot.updated_ms.min(slot.window.end_ms);
    let ms = until - slot.window.start_ms;
    #[allow(clippy::cast_precision_loss)]
    (ms > 0).then(|| slot.result.total_page_views as f64 * 1000.0 / ms as f64)
}

struct About {
    window: Window,
    updated_ms: i64,
    /// Shares by which events and users may be off.
    bound: Option<(f64, f64)>,
    is_approximate: bool,
}

fn about(slot: &Slot<PageView>) -> About {
    About {
        window: slot.window,
        updated_ms: slot.updated_ms,
        bound: slot.error_bound.map(|bound| (bound.events, bound.users)),
        is_approximate: slot.approximate,
    }
}

fn about_funnel(slot: &Slot<ConversionFunnel>) -> About {
    About {
        window: slot.window,
        updated_ms: slot.updated_ms,
        bound: slot.error_bound.map(|bound| (bound.events, bound.users)),
        is_approximate: slot.approximate,
    }
}

impl About {
    /// `is_known`: what came later would be known.
    fn told(&self, now_ms: i64, is_known: bool) -> Vec<Span<'static>> {
        let old = age(now_ms - self.updated_ms);
        let mut parts = vec![
            Span::styled(bounds(self.window), PLAIN),
            Span::styled(format!("updated {old} ago"), SOFT),
        ];
        if now_ms >= self.window.end_ms {
            let ended = age(now_ms - self.window.end_ms);
            let over_ms = now_ms - self.window.end_ms;
            let is_nothing = is_known && over_ms >= PUBLISHED_MS;
            let nothing = if is_nothing { ", nothing since" } else { "" };
            parts.push(Span::styled(format!("ended {ended} ago{nothing}"), NOTICE));
        }
        if self.is_approximate {
            parts.push(Span::styled("approximate", NOTICE));
            if let Some((events, users)) = self.bound {
                let bound = format!(
                    "events at most {} too few, users ±{}",
                    percent(events),
                    percent(users)
                );
                parts.push(Span::styled(bound, NOTICE));
            }
        } else {
            parts.push(Span::styled("exact", SOFT));
        }
        parts
    }
}

/// `17:55–18:00 UTC`
fn bounds(window: Window) -> String {
    let clock = |ms| {
        let moment = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        // 2026-11-25T17:55:00Z
        moment.to_string().get(11..16).unwrap_or("?").to_owned()
    };
    format!("{}–{} UTC", clock(window.start_ms), clock(window.end_ms))
}

/// Funnel, pages and browsers in so many lines.
fn body(view: &View, columns: usize, lines: usize) -> Vec<Line<'static>> {
    let is_wide = columns >= TWO_COLUMNS;
    let each = if is_wide {
        (columns - GAP) / 2
    } else {
        columns
    };
    let funnel = view.funnel.as_ref().map(|slot| {
        let other = view.pages.as_ref().is_some_and(|p| p.window != slot.window);
        funnel(&slot.result, other.then_some(slot.window), each)
    });
    let funnel = funnel.unwrap_or_default();
    let Some(pages_slot) = &view.pages else {
        return funnel;
    };
    let result = &pages_slot.result;
    // With its title and the empty line before it.
    let beside = lines.saturating_sub(funnel.len() + 2);
    if is_wide {
        let browsers = browsers(result, each, beside.min(MOST_BROWSERS));
        let left = stacked(vec![funnel, browsers]);
        let right = pages(result, each, lines.saturating_sub(1).min(MOST_PAGES));
        return side_by_side(left, right, each);
    }
    let known = result.browser_distribution.0.len().min(MOST_BROWSERS);
    // They have a title and an empty line as well; pages go first.
    let few = known.min(beside.saturating_sub(2) / 3);
    let taken = if few == 0 { 0 } else { few + 2 };
    let most = (beside - taken).min(MOST_PAGES);
    stacked(vec![
        funnel,
        pages(result, each, most),
        browsers(result, each, few),
    ])
}

fn stacked(blocks: Vec<Vec<Line<'static>>>) -> Vec<Line<'static>> {
    let mut all: Vec<Line<'static>> = Vec::new();
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        if !all.is_empty() {
            all.push(Line::default());
        }
        all.extend(block);
    }
    all
}

/// Every line of the left block takes all of its column.
fn side_by_side(
    left: Vec<Line<'static>>,
    right: Vec<Line<'static>>,
    each: usize,
) -> Vec<Line<'static>> {
    let rows = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let rows = (0..rows).map(|_| {
        let mut line = left.next().unwrap_or_default();
        let rest = each.saturating_sub(line.width()) + GAP;
        line.push_span(Span::raw(" ".repeat(rest)));
        line.extend(right.next().unwrap_or_default().spans);
        line
    });
    rows.collect()
}

fn funnel(result: &ConversionFunnel, window: Option<Window>, columns: usize) -> Vec<Line<'static>> {
    let is_roomy = columns >= ROOMY;
    let table = Table {
        name: 14,
        numbers: if is_roomy { 4 } else { 3 },
        columns,
    };
    let users = count(result.total_users_in_funnel);
    let titles = match window.map(bounds) {
        Some(window) => [
            format!("Conversion funnel of {users} users, {window}"),
            format!("Funnel, {window}"),
        ],
        None => [
            format!("Conversion funnel of {users} users"),
            format!("Funnel of {users} users"),
        ],
    };
    let fits = |title: &&String| width(title) <= table.before_numbers();
    let title = titles.iter().find(fits).map_or("Funnel", String::as_str);
    let mut lines = vec![table.title(title, &["users", "rate", "drop", "events"])];
    let mut before = None;
    for (step, events) in &result.funnel_counts.0 {
        let (rate, users) = result.reached(step);
        // Steps are done in any order: there may be more than did the one before.
        let drop = match before {
            Some(previous) if previous > users => percent(share(previous - users, previous)),
            _ => "–".to_owned(),
        };
        let numbers = [
            table.count(users),
            percent(rate),
            drop,
            table.count(*events),
        ];
        lines.push(table.row(&step.replace('_', " "), rate, STEPS, &numbers));
        before = Some(users);
    }
    lines
}

fn pages(result: &PageView, columns: usize, most: usize) -> Vec<Line<'static>> {
    if most == 0 {
        return Vec::new();
    }
    let table = Table {
        name: (columns * 9 / 20).max(16),
        numbers: 2,
        columns,
    };
    let mut lines = vec![table.title("Top pages", &["views", "users"])];
    let first = result.top_pages.0.first().map_or(0, |(_, views)| *views);
    for (page, views) in result.top_pages.0.iter().take(most) {
        let users = result.unique_users_by_page.get(page);
        let users = users.map_or_else(|| "–".to_owned(), |users| table.count(users));
        let numbers = [table.count(*views), users];
        lines.push(table.row(page, share(*views, first), PAGES, &numbers));
    }
    lines
}

fn browsers(result: &PageView, columns: usize, most: usize) -> Vec<Line<'static>> {
    if most == 0 {
        return Vec::new();
    }
    let table = Table {
        name: 16,
        numbers: 2,
        columns,
    };
    let all: u64 = result
        .browser_distribution
        .0
        .iter()
        .map(|(_, views)| views)
        .sum();
    let mut lines = vec![table.title("Browsers", &["views", "share"])];
    for (browser, views) in result.browser_distribution.0.iter().take(most) {
        let of = share(*views, all);
        lines.push(table.row(browser, of, BROWSERS, &[table.count(*views), percent(of)]));
    }
    lines
}

/// Names, bars and numbers under each other.
struct Table {
    name: usize,
    numbers: usize,
    columns: usize,
}

impl Table {
    /// The columns of a number, with the space before it.
    const fn number(&self) -> usize {
        if self.columns < ROOMY { 7 } else { 8 }
    }

    fn count(&self, number: u64) -> String {
        within(number, self.number())
    }

    /// The columns of a bar; none where there is no room for one.
    fn bar(&self) -> usize {
        let taken = self.name + 1 + self.numbers * self.number();
        let left = self.columns.saturating_sub(taken);
        if left < SHORTEST_BAR { 0 } else { left }
    }

    /// What is left of the line before its numbers.
    fn before_numbers(&self) -> usize {
        self.columns.saturating_sub(self.numbers * self.number())
    }

    fn title(&self, title: &str, numbers: &[&str]) -> Line<'static> {
        let mut line = Line::styled(fit(title, self.before_numbers()), TITLE);
        for number in numbers.iter().take(self.numbers) {
            line.push_span(Span::styled(right(number, self.number()), SOFT));
        }
        line
    }

    fn row(&self, name: &str, part: f64, style: Style, numbers: &[String]) -> Line<'static> {
        let columns = self.bar();
        let mut line = if columns == 0 {
            Line::raw(fit(name, self.before_numbers()))
        } else {
            let name = Span::raw(format!("{} ", fit(name, self.name)));
            Line::from(vec![name, Span::styled(bar(part, columns), style)])
        };
        for (at, number) in numbers.iter().take(self.numbers).enumerate() {
            let style = if at == 0 { TITLE } else { PLAIN };
            line.push_span(Span::styled(right(number, self.number()), style));
        }
        line
    }
}

/// Parts beside each other, in as many lines as they need.
fn flow(parts: Vec<Span<'static>>, columns: usize) -> Vec<Line<'static>> {
    const BETWEEN: &str = " · ";
    let mut lines: Vec<Line<'static>> = Vec::new();
    for part in parts.into_iter().filter(|part| !part.content.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.width() + width(BETWEEN) + part.width() <= columns => {
                line.push_span(Span::styled(BETWEEN, SOFT));
                line.push_span(part);
            }
            _ => lines.extend(
                wrapped(&part.content, columns)
                    .into_iter()
                    .map(|text| Line::from(Span::styled(text, part.style))),
            ),
        }
    }
    lines
}

fn paragraph(text: &str, columns: usize, style: Style) -> Vec<Line<'static>> {
    let lines = wrapped(text, columns).into_iter();
    lines.map(|line| Line::styled(line, style)).collect()
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
