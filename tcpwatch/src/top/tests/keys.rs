//! What keys do to what is shown.

use std::time::Duration;

use super::scene::{app, at, in_trouble, play, player, press, quiet, sockets, troubled, type_in};
use crate::explain;
use crate::filter::Filter;
use crate::top::detail::Tab;
use crate::top::pane::Pane;
use crate::top::{App, Command, Event, Key, Mark, Motion, Position};

fn tab(app: &App) -> Option<Tab> {
    app.detail.as_ref().map(|detail| detail.tab())
}

#[test]
fn it_is_left_from_everywhere() {
    for before in ["", "?", "z", "2", "3z"] {
        let mut app = in_trouble(app());
        type_in(&mut app, before);
        assert_eq!(type_in(&mut app, "q"), [Command::Quit], "{before}");
    }
    let mut app = in_trouble(app());
    press(&mut app, &[Key::Enter]);
    assert_eq!(type_in(&mut app, "q"), [Command::Quit]);
    type_in(&mut app, "/q");
    assert_eq!(press(&mut app, &[Key::Interrupt]), [Command::Quit], "while something is typed");
    assert_eq!(
        press(&mut super::scene::app(), &[Key::Char('q')]),
        [Command::Quit],
        "before the first figures"
    );
}

#[test]
fn panes_are_gone_through() {
    let mut app = in_trouble(app());
    assert_eq!(app.focus, Pane::Findings);
    press(&mut app, &[Key::Tab, Key::Tab]);
    assert_eq!(app.focus, Pane::Listeners);
    press(&mut app, &[Key::BackTab, Key::BackTab, Key::BackTab]);
    assert_eq!(app.focus, Pane::Remotes);
    type_in(&mut app, "4z");
    assert_eq!((app.focus, app.is_zoomed), (Pane::Owners, true));
    press(&mut app, &[Key::Esc]);
    assert!(!app.is_zoomed);
}

#[test]
fn a_row_stays_chosen_wherever_it_goes() {
    let mut app = in_trouble(app());
    type_in(&mut app, "3");
    let chosen = |app: &App| app.listeners()[app.view(Pane::Listeners).cursor.index].local.clone();
    assert_eq!(chosen(&app), "127.0.0.1:18081", "the one that drops comes first");
    press(&mut app, &[Key::Down, Key::Down, Key::Up]);
    let before = chosen(&app);
    type_in(&mut app, "ss");
    assert_eq!(chosen(&app), before, "sorted otherwise");
    press(&mut app, &[Key::End, Key::Down]);
    assert_eq!(app.view(Pane::Listeners).cursor.index, 3);
    press(&mut app, &[Key::Home]);
    assert_eq!(app.view(Pane::Listeners).cursor.index, 0);
    press(&mut app, &[Key::End]);
    play(&mut app, [Event::Snapshot(Box::new(quiet(11)))]);
    assert!(app.view(Pane::Listeners).cursor.index < 2, "it is gone");
}

#[test]
fn rows_are_filtered_by_what_they_say() {
    let mut app = in_trouble(app());
    type_in(&mut app, "3/SSHD");
    assert_eq!(app.listeners().len(), 4, "not before it is entered");
    press(&mut app, &[Key::Enter]);
    assert_eq!(app.listeners().iter().map(|one| one.local.as_str()).collect::<Vec<_>>(), ["0.0.0.0:22"]);
    assert_eq!(app.owners().len(), 3, "each pane has its own");
    type_in(&mut app, "/x");
    press(&mut app, &[Key::Esc]);
    assert_eq!(app.listeners().len(), 1, "left as it was");
    type_in(&mut app, "/");
    press(&mut app, &[Key::Clear, Key::Enter]);
    assert_eq!(app.listeners().len(), 4);
    type_in(&mut app, "1/critical");
    press(&mut app, &[Key::Enter]);
    assert_eq!(app.findings().len(), 1);
    press(&mut app, &[Key::Enter]);
    assert_eq!(tab(&app), Some(Tab::About));
}

#[test]
fn listeners_are_sorted_by_pressure_and_drops_count_for_ten_seconds() {
    let mut app = app();
    play(&mut app, [Event::Snapshot(Box::new(troubled(0)))]);
    let full = |app: &App| app.recent.drops(app.listeners()[0]);
    assert_eq!((app.listeners()[0].local.as_str(), full(&app)), ("127.0.0.1:18081", 0));
    play(&mut app, (1..=30).map(|seconds| Event::Snapshot(Box::new(troubled(seconds)))));
    assert_eq!(full(&app), 30, "three a second");
    play(&mut app, [Event::Snapshot(Box::new(troubled(2)))]);
    assert_eq!(full(&app), 0, "another place of a recording, or a daemon that was started anew");
}

#[test]
fn a_pause_holds_the_picture() {
    let mut app = in_trouble(app());
    type_in(&mut app, " ");
    play(&mut app, [Event::Snapshot(Box::new(quiet(11))), Event::Snapshot(Box::new(quiet(12)))]);
    assert_eq!(app.findings().len(), 2);
    type_in(&mut app, " ");
    assert_eq!((app.findings().len(), app.shown().map(|shot| shot.at)), (0, Some(at(12))));
    let mut starting = super::scene::app();
    type_in(&mut starting, " ");
    play(&mut starting, [Event::Snapshot(Box::new(quiet(0)))]);
    assert!(starting.shown().is_some(), "the first picture is better than none");
}

#[test]
fn what_is_old_is_told_to_be() {
    let mut app = in_trouble(app());
    assert_eq!(app.stale(), None);
    let start = app.now;
    let mut later = |event, seconds| {
        app.update(event, start + Duration::from_secs(seconds));
        app.stale().map(|age| age.as_secs())
    };
    assert_eq!(later(Event::Tick, 4), None);
    assert_eq!(later(Event::Trouble("gone".into()), 4), Some(4));
    // It answers, and does not sample.
    assert_eq!(later(Event::Snapshot(Box::new(troubled(10))), 7), Some(7));
    assert_eq!(later(Event::Snapshot(Box::new(troubled(11))), 8), None);
    assert_eq!(later(Event::Tick, 20), Some(12));
}

#[test]
fn sockets_are_asked_for_when_they_are_looked_at() {
    let mut app = in_trouble(app());
    assert_eq!(press(&mut app, &[Key::Enter]), [], "a finding is told first");
    let filter = "netns=4026531840 local=127.0.0.1 sport=18081";
    let asked = press(&mut app, &[Key::Tab]);
    assert_eq!(asked, [Command::Sockets { ticket: 1, filter: filter.into(), limit: 500 }]);
    assert_eq!(play(&mut app, [Event::Tick, Event::Tick]), [], "never twice at once");
    play(&mut app, [Event::Sockets(7, Ok(sockets()))]);
    assert!(app.detail.as_ref().is_some_and(|detail| detail.sockets.answer.is_none()), "somebody else's");
    assert_eq!(play(&mut app, [Event::Sockets(1, Ok(sockets()))]), []);
    // The answer took four seconds: the daemon is left in peace for forty.
    let again: Vec<_> = (0..41).flat_map(|_| play(&mut app, [Event::Tick])).collect();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(press(&mut app, &[Key::Esc]), []);
    assert!(app.detail.is_none());
}

#[test]
fn filters_are_checked_before_they_are_asked() {
    let mut app = in_trouble(app());
    type_in(&mut app, "2");
    press(&mut app, &[Key::Enter]);
    type_in(&mut app, "/ or");
    assert_eq!(press(&mut app, &[Key::Enter]), []);
    let prompt = app.prompt.as_ref().expect("still there");
    assert!(prompt.error.as_ref().is_some_and(|error| error.contains("bad filter")), "{prompt:?}");
    press(&mut app, &[Key::Clear]);
    type_in(&mut app, "port=22");
    let asked = press(&mut app, &[Key::Enter]);
    assert_eq!(asked, [Command::Sockets { ticket: 2, filter: "port=22".into(), limit: 500 }]);
}

#[test]
fn everything_has_sockets_and_a_page_that_exist() {
    for (pane, topic) in [
        ('1', "accept_queue_overflow"),
        ('2', "established"),
        ('3', "listener_queues"),
        ('4', "accept_queue_overflow"),
        ('5', "retransmission"),
    ] {
        let mut app = in_trouble(app());
        type_in(&mut app, &pane.to_string());
        let mut asked = press(&mut app, &[Key::Enter]);
        asked.extend(press(&mut app, &[Key::Tab, Key::Tab]));
        let filters = asked.iter().filter_map(|command| match command {
            Command::Sockets { filter, .. } => Some(filter.as_str()),
            _ => None,
        });
        let filters: Vec<&str> = filters.collect();
        assert_eq!(filters.len(), 1, "{pane}: {asked:?}");
        assert!(Filter::parse(filters[0]).is_ok(), "{pane}: {filters:?}");
        let pages = asked.iter().filter_map(|command| match command {
            Command::Page { topic, .. } => Some(topic.as_str()),
            _ => None,
        });
        assert_eq!(pages.collect::<Vec<_>>(), [topic], "{pane}");
        assert!(explain::find(topic).is_ok(), "{topic}");
    }
}

#[test]
fn every_kind_of_finding_has_sockets() {
    for kind in crate::finding::Kind::ALL {
        let mut shot = troubled(0);
        let finding = &mut shot.findings.as_mut().expect("findings")[0];
        finding.kind = kind.name().into();
        finding.destination = Some("[2001:db8::1]:443".into());
        finding.remote = Some("10.0.0.1".into());
        let mut app = app();
        play(&mut app, [Event::Snapshot(Box::new(shot))]);
        let asked = press(&mut app, &[Key::Enter, Key::Tab]);
        let [Command::Sockets { filter, .. }] = asked.as_slice() else { panic!("{kind:?}: {asked:?}") };
        assert!(Filter::parse(filter).is_ok(), "{kind:?}: {filter}");
        assert!(explain::find(kind.name()).is_ok(), "{kind:?}");
    }
}

#[test]
fn a_page_is_asked_for_once_and_scrolled() {
    let mut app = in_trouble(app());
    type_in(&mut app, "2");
    press(&mut app, &[Key::Enter]);
    let asked = press(&mut app, &[Key::Tab]);
    assert_eq!(asked, [Command::Page { ticket: 2, topic: "established".into(), netns: None }]);
    assert_eq!(play(&mut app, [Event::Tick]), []);
    let text = "line\n".repeat(100);
    play(&mut app, [Event::Page(2, Ok(text))]);
    let scroll = |app: &App| app.detail.as_ref().map_or(0, |detail| detail.scroll);
    press(&mut app, &[Key::Down, Key::Down, Key::PageDown]);
    assert_eq!(scroll(&app), 2 + 18);
    press(&mut app, &[Key::End]);
    assert_eq!(scroll(&app), 100 - 19, "the last page is full");
    press(&mut app, &[Key::Home, Key::Up]);
    assert_eq!(scroll(&app), 0);
    assert_eq!(type_in(&mut app, "r").len(), 1, "asked for anew");
}

#[test]
fn a_recording_is_gone_through() {
    let mut app = in_trouble(player());
    let motion = |commands: Vec<Command>| match commands.as_slice() {
        [Command::Motion(motion)] => Some(motion.clone()),
        _ => None,
    };
    assert_eq!(motion(type_in(&mut app, " ")), Some(Motion::Play(1)));
    play(&mut app, [Event::Position(Position { at: at(100), is_playing: true })]);
    assert_eq!(motion(type_in(&mut app, "+")), Some(Motion::Play(2)));
    assert_eq!(motion(type_in(&mut app, " ")), Some(Motion::Pause));
    for (key, expected) in [
        (Key::Char('.'), Motion::Step(1)),
        (Key::Char(','), Motion::Step(-1)),
        (Key::Left, Motion::Back(Duration::from_secs(10))),
        (Key::Right, Motion::Forward(Duration::from_secs(10))),
        (Key::Char(']'), Motion::Forward(Duration::from_mins(5))),
        (Key::Char('<'), Motion::First),
        (Key::Char('>'), Motion::Last),
    ] {
        assert_eq!(motion(press(&mut app, &[key])), Some(expected));
    }
    assert_eq!(type_in(&mut app, "n"), [], "nothing was opened so far as is known");
    let mark = |seconds| {
        let (at, id) = (at(seconds), "accept_queue_overflow:1".into());
        Event::Mark(Mark { at, id, since: at - Duration::from_secs(1), is_critical: true })
    };
    play(&mut app, [mark(500), mark(50), mark(300)]);
    assert_eq!(motion(type_in(&mut app, "n")), Some(Motion::To(at(300))));
    assert_eq!(motion(type_in(&mut app, "N")), Some(Motion::To(at(50))));
    // What a jump shows as younger than it was recorded to be.
    let mut shot = troubled(400);
    shot.findings.as_mut().expect("findings")[0].since = Some(at(390));
    play(&mut app, [Event::Snapshot(Box::new(shot))]);
    assert_eq!(app.findings()[0].since, Some(at(299)));
    type_in(&mut app, "g03:12");
    assert_eq!(motion(press(&mut app, &[Key::Enter])), Some(Motion::Written("03:12".into())));
    // Single sockets are not in it.
    assert_eq!(press(&mut app, &[Key::Enter, Key::Tab]), []);
}
