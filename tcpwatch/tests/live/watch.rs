//! What tcpwatch tells of one namespace, as short text to compare with.

use crate::support::netns::Netns;
use crate::support::timeline::Timeline;
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tcpwatch::kernel::{Counters, Kernel, Listeners, Options, Ring};
use tcpwatch::view::event::{Context, View, view};
use tcpwatch_common::cell;
use tcpwatch_common::event::{Filter, Kind};
use tcpwatch_common::host::HostCounters;

/// How long anything expected may take to come.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long nothing more may come after all that was expected.
const QUIET: Duration = Duration::from_millis(25);
const TICK: Duration = Duration::from_millis(2);

/// Programs that no test uses now.
static IDLE: Mutex<Vec<Watch>> = Mutex::new(Vec::new());

/// The running programs, telling everything of one namespace.
pub struct Watch {
    kernel: Kernel,
    counters: Counters,
    listeners: Listeners,
    ring: Ring,
    inode: u32,
    /// By an earlier namespace of the same inode number.
    counted_before: cell::Row,
    filter: Filter,
    /// Told, and not yet asked for.
    told: Vec<View>,
    /// Gaps and illegal transitions of other namespaces.
    strange: Vec<View>,
    /// By cookie: the socket's name and its number among all seen.
    sockets: HashMap<String, (&'static str, usize)>,
    born: usize,
    timeline: Timeline,
    /// Whether the filter leaves out nothing of the namespace.
    told_all: bool,
}

/// What one socket did: its name and its transitions.
#[derive(Debug)]
pub struct History {
    pub name: String,
    pub steps: Vec<String>,
}

impl Watch {
    /// Tells of all that happens in the namespace.
    pub fn on(ns: &Netns) -> Watch {
        let inode = u32::try_from(ns.inode()).expect("inodes of namespaces are small");
        let used = IDLE.lock().expect("no holder panics").pop();
        let mut watch = used.unwrap_or_else(Watch::load);
        watch.inode = inode;
        watch.counted_before = watch.counted();
        watch.narrow(Filter::default());
        watch
    }

    fn load() -> Watch {
        // Other tests' sockets and namespaces are counted too.
        let options = Options {
            sockets: 1 << 16,
            namespaces: 1024,
            ring_bytes: 1 << 20,
            adopt: false,
            ..Options::default()
        };
        let mut kernel = Kernel::open(&options).unwrap_or_else(|e| panic!("load the programs: {e}"));
        let counters = Counters::open(&mut kernel).expect("open the counters");
        let listeners = Listeners::open(&mut kernel).expect("open the listeners");
        let ring = Ring::open(&mut kernel).expect("open the ring");
        Watch {
            kernel,
            counters,
            listeners,
            ring,
            inode: 0,
            counted_before: [0; cell::CELLS],
            filter: Filter::default(),
            told: Vec::new(),
            strange: Vec::new(),
            sockets: HashMap::new(),
            born: 0,
            timeline: Timeline::default(),
            told_all: true,
        }
    }

    /// Checks that nothing was wrong, whatever else the test looked at, and leaves the programs to the next test: to
    /// load them takes longer than most tests.
    pub fn done(mut self) {
        self.stop();
        let host = self.host();
        let strange = (host.illegal, host.gaps, host.ring.lost);
        assert_eq!(strange, (0, 0, 0), "illegal, gaps, lost; of other namespaces: {:#?}", self.strange);
        assert_eq!((host.untracked, host.folded), (0, 0), "untracked, folded");
        assert_eq!(self.ring.malformed(), 0, "malformed");
        self.told.clear();
        self.sockets.clear();
        IDLE.lock().expect("no holder panics").push(self);
    }

    /// From now on tells only of what the filter lets pass, in the same namespace.
    pub fn narrow(&mut self, filter: Filter) {
        self.filter = Filter { netns: self.inode, ..filter };
        self.timeline.clear();
        self.told_all = filter == Filter::default();
        let all = Kind::ALL.iter().fold(0, |bits, kind| bits | kind.bit());
        self.kernel.want(all, self.filter).expect("set the filter");
    }

    /// Tells nothing any more, and takes out what is still in the ring.
    pub fn stop(&mut self) {
        self.kernel.want(0, self.filter).expect("set the filter");
        // A program that is running now may have read the old one.
        thread::sleep(QUIET);
        self.drain();
    }

    /// Waits for just these transitions of IPv4 or IPv6 sockets, in order for each socket. Sockets have the name of
    /// how they were born: client, server, listener; v4-mapped ones have "mapped" after it.
    #[track_caller]
    pub fn expect(&mut self, family: &str, sockets: &[(&str, &[&str])]) {
        let steps = sockets.iter().map(|(_, steps)| steps.len()).sum();
        let histories = self.histories(family, |told| told.len() >= steps);
        let mut seen: Vec<_> = histories.iter().map(|history| text(&history.name, &history.steps)).collect();
        let mut expected: Vec<_> = sockets.iter().map(|(name, steps)| text(name, steps)).collect();
        // Which of two sockets is born first is not always the same.
        seen.sort_unstable();
        expected.sort_unstable();
        let (seen, expected) = (seen.concat(), expected.concat());
        assert!(seen == expected, "{family}: expected\n{expected}\nbut saw\n{seen}");
    }

    /// The transitions of each socket, in the order in which the sockets were first told of, once `enough` have
    /// come (or never will) and no more follow.
    #[track_caller]
    pub fn histories(&mut self, family: &str, enough: impl Fn(&[&View]) -> bool) -> Vec<History> {
        let views = self.take(|view| !is_other(view), enough);
        let mut histories: Vec<(usize, History)> = Vec::new();
        for view in views {
            let born = match (view.from, view.to) {
                (Some("close"), Some("listen")) => Some("listener"),
                (Some("close"), Some("syn_sent")) => Some("client"),
                (Some("listen"), Some("syn_recv")) => Some("server"),
                _ => None,
            };
            if let Some(name) = born {
                self.born += 1;
                self.sockets.insert(view.cookie.clone(), (name, self.born));
            }
            let &(name, number) = self.sockets.get(&view.cookie).unwrap_or(&("stranger", 0));
            let mapped = if view.mapped { " mapped" } else { "" };
            // Up to 6.12 a child is told of with its listener's addresses.
            let is_child = view.from == Some("listen") && view.to == Some("syn_recv");
            assert!(is_child || view.family == family, "{family} expected: {view:?}");
            let place = histories.iter().position(|(n, _)| *n == number).unwrap_or_else(|| {
                histories.push((number, History { name: String::new(), steps: Vec::new() }));
                histories.len() - 1
            });
            let history = &mut histories[place].1;
            if !is_child || history.name.is_empty() {
                history.name = format!("{name}{mapped}");
            }
            history.steps.push(step(&view));
        }
        histories.into_iter().map(|(_, history)| history).collect()
    }

    /// The transitions of all sockets together once `enough` have come and no more follow; for what happens to two
    /// sockets at once.
    pub fn transitions(&mut self, enough: impl Fn(&[&View]) -> bool) -> Vec<String> {
        self.take(|view| !is_other(view), enough).iter().map(step).collect()
    }

    /// How long the socket that makes this transition next had been in the state it leaves. Forgets what comes before.
    #[track_caller]
    pub fn lasted(&mut self, from: &str, to: &str) -> Duration {
        let is_it = |view: &View| (view.from, view.to) == (Some(from), Some(to));
        let views = self.take(|_| true, |told| told.iter().any(|view| is_it(view)));
        let found =
            views.iter().find(|view| is_it(view)).unwrap_or_else(|| panic!("no {from}>{to}: {views:?}"));
        Duration::from_secs_f64(found.in_state.expect("a known duration"))
    }

    /// Waits for so many resets and retransmits, and for no more; in order.
    #[track_caller]
    pub fn others(&mut self, count: usize) -> Vec<String> {
        let views = self.take(is_other, |told| told.len() >= count);
        views.iter().map(other).collect()
    }

    /// Waits until one of the resets and retransmits is this one.
    #[track_caller]
    pub fn await_other(&mut self, wanted: &str) {
        let views = self.take(is_other, |told| told.iter().any(|view| other(view) == wanted));
        let lines: Vec<_> = views.iter().map(other).collect();
        assert!(lines.iter().any(|line| line == wanted), "expected {wanted}, but saw {lines:?}");
    }

    /// Forgets the resets and retransmits told until now.
    pub fn skip_others(&mut self) {
        self.drain();
        self.told.retain(|view| !is_other(view));
    }

    /// All that was told and not asked for, without waiting.
    pub fn rest(&mut self) -> Vec<View> {
        self.drain();
        std::mem::take(&mut self.told)
    }

    /// The namespace's counters.
    pub fn cells(&self) -> cell::Row {
        let mut cells = self.counted();
        for (cell, before) in cells.iter_mut().zip(self.counted_before) {
            *cell -= before;
        }
        cells
    }

    fn counted(&self) -> cell::Row {
        let mut sum = [0; cell::CELLS];
        for (_, namespace) in self.counters.namespaces().expect("read the namespaces") {
            if namespace.inode == self.inode {
                let cells = self.counters.cells(namespace.row).expect("read the cells");
                sum.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
            }
        }
        sum
    }

    /// The counters of the whole host, other tests included.
    pub fn host(&self) -> Box<HostCounters> {
        self.counters.host().expect("read the host's counters")
    }

    /// How many SYN-ACKs the listener on this port had to send again; `None` if there is no such listener.
    pub fn synack_retransmits(&mut self, port: u16) -> Option<u64> {
        let listeners = self.listeners.read(&mut self.kernel).expect("read the listeners");
        let mut mine = listeners.iter().filter(|(_, l)| (l.netns, l.local_port) == (self.inode, port));
        let found = mine.next().map(|(_, listener)| listener.synack_retransmits);
        assert!(mine.next().is_none(), "two listeners on port {port}: {listeners:?}");
        found
    }

    /// Facts that came out of the ring.
    pub fn delivered(&self) -> u64 {
        self.ring.delivered()
    }

    /// Takes the facts that are `mine` as soon as there are `enough` of them and no more come.
    fn take(&mut self, mine: fn(&View) -> bool, enough: impl Fn(&[&View]) -> bool) -> Vec<View> {
        let deadline = Instant::now() + PATIENCE;
        let mut quiet_since = None;
        loop {
            let before = self.told.len();
            self.drain();
            let told: Vec<_> = self.told.iter().filter(|view| mine(view)).collect();
            if !enough(&told) || self.told.len() > before {
                quiet_since = None;
            } else if quiet_since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
                break;
            }
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(TICK);
        }
        let (taken, kept) = self.told.drain(..).partition(mine);
        self.told = kept;
        taken
    }

    fn drain(&mut self) {
        let process = |_| None;
        let reset_reasons = self.kernel.reset_reasons();
        let context = Context { boot: SystemTime::UNIX_EPOCH, reset_reasons, process: &process };
        let (told, strange, inode) = (&mut self.told, &mut self.strange, self.inode);
        let mut timeline = self.told_all.then_some(&mut self.timeline);
        self.ring.drain(usize::MAX, |event| {
            let view = view(event, &context).unwrap_or_else(|| panic!("makes no sense: {event:?}"));
            // The ring may still hold what an earlier test wanted.
            if view.netns == inode {
                if let Some(timeline) = &mut timeline {
                    timeline.check(event);
                }
                told.push(view);
            } else if view.kind == "gap" || view.verdict == Some("illegal") {
                // Which is told whatever the filter says.
                strange.push(view);
            }
        });
    }
}

fn is_other(view: &View) -> bool {
    !matches!(view.kind, "transition" | "gap")
}

fn text(name: &str, steps: &[impl AsRef<str>]) -> String {
    let lines = steps.iter().map(|step| format!("  {}\n", step.as_ref()));
    format!("{name}\n{}", lines.collect::<String>())
}

/// A transition: `established>close rfc refused me`, the cause only of an ending, the owner last.
fn step(view: &View) -> String {
    let words = [
        view.expected.map(|expected| format!("gap: {expected} expected")),
        Some(format!("{}>{}", view.from.unwrap_or("?"), view.to.unwrap_or("?"))),
        view.verdict.map(str::to_owned),
        view.cause.map(str::to_owned),
        Some(owner(view)),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A reset or retransmit: `reset received in established`, `retransmit syn in syn_sent`.
fn other(view: &View) -> String {
    let what = view.direction.or(view.what).unwrap_or("?");
    format!("{} {what} in {}", view.kind, view.state.unwrap_or("?"))
}

fn owner(view: &View) -> String {
    match view.owner.pid {
        None => "unknown".to_owned(),
        Some(pid) if pid == std::process::id() => "me".to_owned(),
        Some(pid) => format!("{pid} ({:?})", view.owner.process),
    }
}
