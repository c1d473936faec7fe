use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;

fn drawn(view: &View, columns: u16, lines: u16, has_colors: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal
        .draw(|frame| draw(frame, view, has_colors, 0))
        .unwrap();
    terminal
}

fn lines(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    let text =
        |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect();
    rows.map(text).collect()
}

fn failing() -> View {
    View {
        url: "http://127.0.0.1:1".to_owned(),
        trouble: Some("http://127.0.0.1:1 does not answer: Connection refused".to_owned()),
        ..View::default()
    }
}

#[test]
fn a_frame_says_how_to_end_where_there_is_room() {
    let expected = [
        " freshet top · http://127.0.0.1:1                    q ends ",
        " http://127.0.0.1:1 does not answer: Connection refused     ",
        "                                                            ",
    ];
    assert_eq!(lines(&drawn(&failing(), 60, 3, true)), expected);
    let expected = [
        "freshet top   q ends",
        "http://127.0.0.1:1  ",
        "http://127.0.0.1:1  ",
    ];
    assert_eq!(lines(&drawn(&failing(), 20, 3, true)), expected);
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let has = |terminal: &Terminal<TestBackend>| {
        let cells = terminal.backend().buffer().content();
        cells.iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(has(&drawn(&failing(), 60, 5, true)));
    assert!(!has(&drawn(&failing(), 60, 5, false)));
}

#[test]
fn any_size_is_drawn() {
    for (columns, lines) in [(1, 1), (2, 40), (0, 0), (300, 2), (41, 9)] {
        drawn(&failing(), columns, lines, true);
    }
}

#[test]
fn three_keys_end_it_and_others_do_not() {
    let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
    let none = KeyModifiers::NONE;
    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert!(ends(&key(code, none)), "{code:?}");
    }
    assert!(ends(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    for code in [KeyCode::Char('c'), KeyCode::Char('x'), KeyCode::Enter] {
        assert!(!ends(&key(code, none)), "{code:?}");
    }
    assert!(!ends(&Event::Resize(80, 24)));
}
