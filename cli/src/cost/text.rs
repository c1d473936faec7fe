//! A report as lines for a terminal.

use super::report::{Dollars, Report};
use std::fmt::Write as _;

const NAME: usize = 18;
const AMOUNT: usize = 10;
const UNIT: usize = 32;
const MONEY: usize = 12;
const CHANGE: usize = 62;
const LINE: usize = 2 + NAME + AMOUNT + 1 + UNIT + 2 * MONEY;
/// Smaller lines are in their component's sum only.
const SHOWN: f64 = 0.005;

/// The report's lines; `styled` for a terminal.
pub(super) fn of(report: &Report, styled: bool) -> String {
    let mut out = String::new();
    let bold = |text: &str| {
        if styled {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    };
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&bold(&format!("freshet cost · {}", report.title)));
    line(&format!(
        "list prices of {} in {}, US dollars, no free tier",
        report.prices_as_of, report.region
    ));
    line("");
    let head = format!(
        "{:<width$}{:>MONEY$}{:>MONEY$}",
        "",
        "$ a month",
        "$ a million",
        width = LINE - 2 * MONEY
    );
    line(&head);
    let mut has_unsure = false;
    for part in &report.components {
        if part.dollars.month < SHOWN {
            continue;
        }
        line(&bold(&row(part.name, "", &part.dollars)));
        for item in part.lines.iter().filter(|item| item.dollars.month >= SHOWN) {
            has_unsure |= !item.sure;
            let what = format!(
                "  {:<NAME$}{:>AMOUNT$} {}",
                item.what,
                amount(item.amount),
                item.unit
            );
            line(&row(&what, if item.sure { "" } else { "~" }, &item.dollars));
        }
    }
    line(&"─".repeat(LINE));
    let total = if report.missing.is_empty() {
        "in all"
    } else {
        "in all, without what is missing"
    };
    line(&bold(&row(total, "", &report.total)));
    if has_unsure {
        line("~ a price that is remembered, and was not found quoted");
    }
    if !report.what_ifs.is_empty() {
        line("");
        line(&format!(
            "{:<CHANGE$}{:>MONEY$}{:>MONEY$}",
            "with one thing changed", "$ a month", "more"
        ));
        for change in &report.what_ifs {
            let share = change.more_a_month / report.total.month * 100.0;
            let share = if share.abs() < 0.05 {
                String::new()
            } else {
                format!("{share:>+6.1}%")
            };
            line(&format!(
                "  {:<width$}{:>MONEY$}{:>MONEY$} {share}",
                change.name,
                money(change.dollars.month, 2),
                signed(change.more_a_month),
                width = CHANGE - 2
            ));
        }
    }
    if let Some(rate) = report.on_demand_below_events_per_second {
        line("");
        line(&format!(
            "below {} events/s a stream on demand costs less than these shards",
            money(rate, 0)
        ));
    }
    if !report.missing.is_empty() {
        line("");
        line("not in the total, as CloudWatch has no data of it:");
        for missing in &report.missing {
            line(&format!("  {missing}"));
        }
    }
    if !report.notes.is_empty() {
        line("");
        for note in &report.notes {
            line(&format!("! {note}"));
        }
    }
    out
}

fn row(what: &str, mark: &str, dollars: &Dollars) -> String {
    let width = LINE - 2 * MONEY - 1;
    let cut: String = what.chars().take(width).collect();
    let mut row = format!("{cut:<width$}{mark:>1}{:>MONEY$}", money(dollars.month, 2));
    match dollars.million {
        Some(million) => {
            let _ = write!(row, "{:>MONEY$}", money(million, 4));
        }
        None => {
            let _ = write!(row, "{:>MONEY$}", "–");
        }
    }
    row
}

/// Three digits and a letter.
fn amount(amount: f64) -> String {
    let (value, letter) = match amount {
        a if a >= 1e9 => (a / 1e9, " G"),
        a if a >= 1e6 => (a / 1e6, " M"),
        a if a >= 1e4 => (a / 1e3, " k"),
        a => (a, ""),
    };
    let digits = match value {
        v if v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{letter}")
}

/// With separators of thousands.
fn money(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(w, r)| (w, r));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !rest.is_empty() {
        grouped.push('.');
        grouped.push_str(rest);
    }
    grouped
}

fn signed(value: f64) -> String {
    let text = money(value, 2);
    // What rounds to nothing is neither more nor less.
    match text.as_str() {
        "-0.00" | "0.00" => "0.00".to_owned(),
        _ if value > 0.0 => format!("+{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        assert_eq!(money(74_299.984, 2), "74,299.98");
        assert_eq!(money(999.999, 2), "1,000.00");
        assert_eq!(money(-1_234_567.0, 0), "-1,234,567");
        assert_eq!(money(0.014, 4), "0.0140");
        assert_eq!(signed(-0.001), "0.00");
        assert_eq!(signed(329.26), "+329.26");
        assert_eq!(signed(-785.01), "-785.01");
        assert_eq!(amount(262_800_000.0), "263 M");
        assert_eq!(amount(31_536_000_000.0), "31.5 G");
        assert_eq!(amount(43_800.0), "43.8 k");
        assert_eq!(amount(8_760.0), "8760");
        assert_eq!(amount(3.25), "3.25");
        assert_eq!(amount(2.0), "2");
    }
}
