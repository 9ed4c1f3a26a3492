//! Every screen as text, held against the files in `snapshots`.
//!
//! To renew them after a change that is meant: `RENEW=1 cargo test -p tcpwatch --lib top::tests::looks`, and look at
//! what git says has changed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;

use super::scene::{app, at, in_trouble, options, play, player, press, quiet, sockets, troubled, type_in};
use crate::top::draw::{draw, plain};
use crate::top::{App, Event, Key, Mark, Options, Position};

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

/// What a terminal of this size shows.
fn shown(app: &mut App, columns: u16, rows: u16) -> String {
    let now = app.now;
    app.update(Event::Resize(columns, rows), now);
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut())).expect("drawn");
    let buffer = terminal.backend().buffer();
    let lines = (0..rows).map(|y| {
        let line: String = (0..columns).filter_map(|x| buffer.cell((x, y))).map(Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn check(name: &str, make: impl Fn() -> App) {
    for (columns, rows) in SIZES {
        let text = shown(&mut make(), columns, rows);
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("src/top/snapshots/{name}-{columns}x{rows}.txt"));
        if std::env::var_os("RENEW").is_some() {
            fs::write(&file, &text).expect("write the snapshot");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, expected, "{}:\n{text}", file.display());
        assert_eq!(plain(&make(), columns, rows).lines().count(), usize::from(rows));
    }
}

fn looked_into(pane: char, keys: &[Key]) -> App {
    let mut app = in_trouble(app());
    type_in(&mut app, &pane.to_string());
    press(&mut app, &[Key::Enter]);
    press(&mut app, keys);
    app
}

#[test]
fn trouble() {
    check("trouble", || in_trouble(app()));
}

#[test]
fn nothing_wrong() {
    check("quiet", || {
        let mut app = app();
        play(&mut app, [Event::Snapshot(Box::new(quiet(0)))]);
        app
    });
}

#[test]
fn before_the_first_figures() {
    check("starting", app);
    check("unreachable", || {
        let mut app = app();
        let why = "cannot reach a-host-with-a-long-name.example.com:9717: Connection refused (os error 111)";
        play(&mut app, [Event::Trouble(why.into())]);
        app
    });
}

#[test]
fn a_dead_remote() {
    check("lost", || {
        let mut app = in_trouble(app());
        let now = app.now + Duration::from_secs(93);
        app.update(Event::Trouble("cannot reach db1:9717: Connection refused (os error 111)".into()), now);
        app
    });
}

#[test]
fn without_ebpf() {
    check("netlink", || {
        let mut shot = quiet(0);
        (shot.is_ebpf, shot.is_complete) = (false, false);
        (shot.flows, shot.findings, shot.listeners) = (None, None, None);
        shot.owners.clear();
        shot.notes =
            vec!["without eBPF only sockets by state are known; `tcpwatch doctor` there says why".into()];
        let mut app = app();
        play(&mut app, [Event::Snapshot(Box::new(shot))]);
        app
    });
}

#[test]
fn paused_and_helped() {
    check("paused", || {
        let mut app = in_trouble(app());
        type_in(&mut app, "3 ");
        play(&mut app, [Event::Snapshot(Box::new(quiet(11)))]);
        app
    });
    check("help", || {
        let mut app = in_trouble(app());
        type_in(&mut app, "?");
        app
    });
    check("help-recorded", || {
        let mut app = in_trouble(player());
        type_in(&mut app, "?");
        app
    });
}

#[test]
fn single_panes() {
    for (key, name) in
        [("1", "findings"), ("2", "states"), ("3", "listeners"), ("4", "owners"), ("5", "remotes")]
    {
        check(&format!("zoom-{name}"), || {
            let mut app = in_trouble(app());
            type_in(&mut app, &format!("{key}z"));
            press(&mut app, &[Key::Down]);
            app
        });
    }
}

#[test]
fn things_looked_into() {
    for (pane, name) in [('1', "finding"), ('3', "listener"), ('4', "owner"), ('5', "remote")] {
        check(&format!("about-{name}"), || looked_into(pane, &[]));
    }
    check("over", || {
        let mut app = looked_into('1', &[Key::PageDown]);
        play(&mut app, [Event::Snapshot(Box::new(quiet(11)))]);
        app
    });
}

#[test]
fn sockets_and_pages() {
    check("sockets", || {
        let mut app = looked_into('2', &[]);
        play(&mut app, [Event::Sockets(1, Ok(sockets()))]);
        type_in(&mut app, "s");
        app
    });
    check("sockets-failed", || {
        let mut app = looked_into('3', &[Key::Tab]);
        play(
            &mut app,
            [Event::Sockets(1, Err("no answer from db1:9717 within 10 s; is the host busy?".into()))],
        );
        app
    });
    check("page", || {
        let mut app = looked_into('2', &[Key::Tab]);
        let page =
            "ESTABLISHED\n\nThe connection is open, data may flow.\n\n    ss -tn state established\n\n"
                .repeat(9);
        play(&mut app, [Event::Page(2, Ok(page))]);
        app
    });
}

#[test]
fn what_is_typed() {
    check("filter", || {
        let mut app = looked_into('2', &[]);
        type_in(&mut app, "/ and state=close_wit");
        press(&mut app, &[Key::Enter]);
        app
    });
    check("filtered", || {
        let mut app = in_trouble(app());
        type_in(&mut app, "3/python");
        press(&mut app, &[Key::Enter]);
        app
    });
}

#[test]
fn a_recording() {
    let playing = || {
        let mut app = in_trouble(player());
        let mark = |seconds, is_critical| {
            Event::Mark(Mark { at: at(seconds), id: "a".into(), since: at(seconds), is_critical })
        };
        let position = Position { at: at(3600), is_playing: true };
        play(&mut app, [mark(4000, true), mark(900, false), mark(4001, false), Event::Position(position)]);
        app
    };
    check("recording", playing);
    check("recording-sockets", || {
        let mut app = playing();
        press(&mut app, &[Key::Enter, Key::Tab]);
        app
    });
}

#[test]
fn any_size_can_be_drawn() {
    let mut screens =
        [in_trouble(app()), in_trouble(player()), looked_into('1', &[]), looked_into('2', &[]), app()];
    for app in &mut screens {
        for columns in (1..=90).step_by(7).chain([39, 40, 75, 76, 300]) {
            for rows in (1..=30).step_by(4).chain([10, 22, 100]) {
                assert_eq!(shown(app, columns, rows).lines().count(), usize::from(rows));
            }
        }
    }
    let small = shown(&mut screens[0], 60, 16);
    assert!(small.contains("accept_queue_overflow") && small.contains("close_wait"), "{small}");
}

#[test]
fn without_colours_nothing_has_one() {
    let colours = |has_colours| {
        let mut app = in_trouble(App::new(Options { has_colours, ..options() }));
        play(&mut app, [Event::Trouble("gone".into())]);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
        terminal.draw(|frame| draw(&app, frame.area(), frame.buffer_mut())).expect("drawn");
        let cells = terminal.backend().buffer().content().to_vec();
        cells.iter().filter(|cell| cell.fg != ratatui::style::Color::Reset).count()
    };
    assert_eq!(colours(false), 0);
    assert!(colours(true) > 100);
}

#[test]
fn nothing_can_steer_the_terminal() {
    let mut app = app();
    let mut shot = troubled(0);
    shot.host = Some("\x1b[2Jdb1\u{7}".into());
    play(&mut app, [Event::Snapshot(Box::new(shot))]);
    assert!(!shown(&mut app, 80, 24).contains(['\x1b', '\u{7}']));
}
