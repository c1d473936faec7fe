//! The view in a terminal, which is what it was before when it ends.

use super::compose::compose;
use super::watch::{View, Watch};
use super::{EVERY, now_ms};
use anyhow::{Context as _, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::{DefaultTerminal, Frame};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Gives the terminal back, whatever happened; a panic does so by ratatui's
/// hook, before it is printed.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        // Twice would put the cursor over the panic's words.
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Shows what is known until q, Esc, Ctrl-C or a signal.
pub(super) async fn run(watch: Watch) -> Result<()> {
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let [interrupt, terminate, hangup] = &mut signals;
    let (show, mut views) = watch::channel(View::default());
    let mut asking = tokio::spawn(ask(watch, show));
    let screen = ratatui::try_init().context("the terminal cannot be taken over")?;
    let mut screen = Screen(screen);
    let mut keys = keys();
    let has_colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut tick = tokio::time::interval(EVERY);
    let result = loop {
        let view = views.borrow_and_update().clone();
        let drawn = screen
            .0
            .draw(|frame| draw(frame, &view, has_colors, now_ms()));
        if let Err(error) = drawn {
            break Err(error.into());
        }
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = views.changed() => {}
            key = keys.recv() => match key {
                // Another size is another frame.
                Some(event) if !ends(&event) => {}
                _ => break Ok(()),
            },
            ended = &mut asking => {
                // It only ends by a panic, which has been printed.
                break ended.context("the view's numbers");
            }
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            _ = hangup.recv() => break Ok(()),
        }
    };
    asking.abort();
    result
}

/// A slow answer must not hold the keys: it is waited for elsewhere.
async fn ask(mut watch: Watch, show: watch::Sender<View>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        show.send_replace(watch.look(now_ms()).await);
    }
}

/// Reading keys blocks: a thread of its own does it, and ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (send, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !send.is_closed() {
            // Not forever, so that a thread without a reader ends.
            let event = match event::poll(Duration::from_millis(250)) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let Ok(event) = event else { return };
            if send.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Esc | KeyCode::Char('q' | 'Q') => true,
            KeyCode::Char('c' | 'd') => is_control,
            _ => false,
        }
}

/// Draws a view into a frame of any size.
fn draw(frame: &mut Frame<'_>, view: &View, has_colors: bool, now_ms: i64) {
    const HINT: &str = "q ends";
    let area = frame.area();
    // One column is left free at each side where there is room.
    let margin = u16::from(area.width > 40);
    let columns = area.width.saturating_sub(2 * margin);
    let lines = compose(view, columns, area.height, now_ms);
    let buffer = frame.buffer_mut();
    for (y, line) in (area.y..area.bottom()).zip(&lines) {
        buffer.set_line(area.x + margin, y, line, columns);
    }
    let first = lines.first().map_or(0, Line::width);
    if first + HINT.len() + 2 <= usize::from(columns) {
        let x = area.right() - margin - u16::try_from(HINT.len()).unwrap_or(0);
        buffer.set_string(x, area.y, HINT, ratatui::style::Style::new().dim());
    }
    if !has_colors {
        for cell in &mut buffer.content {
            cell.set_fg(Color::Reset).set_bg(Color::Reset);
        }
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
