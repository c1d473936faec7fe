//! Numbers, names and bars as they stand in a line.

use ratatui::text::Span;

/// How many columns a terminal gives to a text.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` in exactly so many columns: cut with an ellipsis, or filled up.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let clean = harmless(text);
    let is_cut = width(&clean) > columns;
    let room = if is_cut {
        columns.saturating_sub(1)
    } else {
        columns
    };
    let mut fitted = String::with_capacity(columns);
    let mut used = 0;
    let span = Span::raw(clean);
    for grapheme in span.styled_graphemes(ratatui::style::Style::new()) {
        let next = used + width(grapheme.symbol);
        if next > room {
            break;
        }
        fitted.push_str(grapheme.symbol);
        used = next;
    }
    if is_cut && columns > 0 {
        fitted.push('…');
        used += 1;
    }
    fitted.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    fitted
}

/// The same at the right end of its columns.
pub(super) fn right(text: &str, columns: usize) -> String {
    let used = width(text);
    if used > columns {
        return fit(text, columns);
    }
    format!("{}{text}", " ".repeat(columns - used))
}

/// Pages and browsers are named by visitors: what steers a terminal or turns
/// the direction of writing becomes a replacement character.
pub(super) fn harmless(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    let replaced = |c| if steers(c) { '\u{fffd}' } else { c };
    text.chars().map(replaced).collect()
}

/// Words in lines of at most so many columns.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(harmless) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A bar of a part, in eighths of a column; what is there is never nothing.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
pub(super) fn bar(part: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let part = if part.is_finite() {
        part.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let mut eighths = (part * columns as f64 * 8.0).round() as usize;
    if part > 0.0 {
        eighths = eighths.max(1);
    }
    let drawn = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    fit(&drawn, columns)
}

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// A number in so many columns with a space before it: in short where all of
/// it has no room.
pub(super) fn within(number: u64, columns: usize) -> String {
    let whole = count(number);
    if whole.len() < columns {
        return whole;
    }
    let mut rest = number;
    let mut tenths = 0;
    let mut unit = ' ';
    for larger in ['k', 'M', 'G', 'T', 'P', 'E'] {
        if rest < 1000 {
            break;
        }
        (rest, tenths, unit) = (rest / 1000, rest % 1000 / 100, larger);
    }
    format!("{rest}.{tenths}{unit}")
}

/// A share in percent; what is there is never written as nothing, nor what is
/// not all as all.
pub(super) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 {
        "<0.1%".to_owned()
    } else if share > 0.999 && share < 1.0 {
        ">99.9%".to_owned()
    } else {
        format!("{:.1}%", share * 100.0)
    }
}

/// A part of a whole; of nothing it is nothing.
#[allow(clippy::cast_precision_loss)]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// How many of something, in short.
pub(super) fn pace(per_second: f64) -> String {
    if per_second >= 100.0 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = per_second.round() as u64;
        count(whole)
    } else {
        format!("{per_second:.1}")
    }
}

/// How long ago; another machine's clock may be ahead of ours.
pub(super) fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_take_exactly_their_columns() {
        for (text, columns, fitted) in [
            ("abc", 5, "abc  "),
            ("abcdef", 4, "abc…"),
            ("abc", 3, "abc"),
            ("商品一覧", 5, "商品…"),
            ("商品一覧", 4, "商… "),
            ("👩‍👩‍👧 family", 5, "👩‍👩‍👧 f…"),
            ("abc", 0, ""),
        ] {
            let found = fit(text, columns);
            assert_eq!(found.trim_end(), fitted.trim_end(), "{text}");
            assert_eq!(width(&found), columns, "{text}");
        }
        assert_eq!(right("12", 5), "   12");
        assert_eq!(right("123456", 5), "1234…");
    }

    #[test]
    fn a_page_cannot_steer_the_terminal() {
        let bad = "/a\u{1b}[2J\u{7}\r\n\u{202e}b\u{9b}c";
        let found = fit(bad, 20);
        assert!(!found.chars().any(char::is_control) && !found.contains('\u{202e}'));
        assert!(found.starts_with("/a\u{fffd}[2J"), "{found:?}");
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.53125, 4), "██▏ ");
        assert_eq!(bar(1e-9, 4), "▏   ");
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(bar(f64::NAN, 2), "  ");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let counts = [0, 999, 1000, 12_345, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let short = [99_999, 123_456, 1_999_999, u64::MAX].map(|n| within(n, 7));
        assert_eq!(short, ["99,999", "123.4k", "1.9M", "18.4E"]);
        let shares = [0.0, 0.0001, 0.375, 0.9996, 1.0].map(percent);
        assert_eq!(shares, ["0.0%", "<0.1%", "37.5%", ">99.9%", "100.0%"]);
        let ages = [-5, 1_999, 119_000, 120_000, 7_200_000].map(age);
        assert_eq!(ages, ["0 s", "1 s", "119 s", "2 min", "2 h"]);
        assert_eq!([0.04, 99.9, 1234.4].map(pace), ["0.0", "99.9", "1,234"]);
    }

    #[test]
    fn words_wrap_and_a_long_one_has_its_own_line() {
        assert_eq!(
            wrapped("a bb ccc\ndddddddd e", 5),
            ["a bb", "ccc", "dddddddd", "e"]
        );
    }
}
