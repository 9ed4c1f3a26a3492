//! All pages, read once from the files beside this one, which are part of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use tcpwatch_common::{TcpState, judge};

use super::names;
use super::page::{self, Page};
use super::{Found, Unknown, fill};

/// A file of pages, and the template of those that are short.
pub struct File {
    pub name: &'static str,
    pub text: &'static str,
    pub template: Option<&'static str>,
}

macro_rules! files {
    (@template) => { None };
    (@template $template:literal) => { Some(include_str!(concat!("templates/", $template, ".md"))) };
    ($($name:literal $(as $template:literal)?),+ $(,)?) => {
        &[$(File {
            name: $name,
            text: include_str!(concat!("pages/", $name, ".md")),
            template: files!(@template $($template)?),
        }),+]
    };
}

/// In the order in which topics are listed. A test holds it against the folder.
pub const FILES: &[File] = files![
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
    "bound_inactive",
    "state_list",
    "hidden_states",
    "verdicts",
    "three_way_handshake",
    "connect_and_accept",
    "lost_handshake_segment",
    "sequence_numbers",
    "listener_queues",
    "syn_dropped",
    "nobody_listens",
    "self_connect",
    "mss_mtu",
    "four_way_close",
    "lost_close_segment",
    "fin_wait2_kinds",
    "out_of_order_fin",
    "server_time_wait",
    "syn_meets_time_wait",
    "close_vs_shutdown",
    "resets",
    "forced_close",
    "retransmission",
    "keepalive",
    "peer_vanishes",
    "peer_reboots",
    "delayed_ack_nagle",
    "flow_control",
    "receive_buffer",
    "tcp_and_udp",
    "close_wait_buildup",
    "time_wait_storm",
    "port_exhaustion",
    "syn_flood",
    "syn_queue_overflow",
    "accept_queue_overflow",
    "retransmit_burst",
    "connect_failures",
    "reset_storm",
    "closing_stuck",
    "silent_peer",
    "zero_window_stall",
    "memory_pressure",
    "transitions" as "transition",
    "illegal_transition",
    "continuity_break",
    "causes" as "cause",
    "sysctls" as "sysctl",
    "counters" as "counter",
    "sockstat" as "sockstat",
    "metrics_sockets",
    "metrics_connections",
    "metrics_segments",
    "metrics_findings",
    "metrics_listeners",
    "trust",
    "metrics_self",
];

/// How many near misses are told.
const SUGGESTIONS: usize = 5;

/// Pages, and every name that leads to one.
#[derive(Debug)]
pub struct Library {
    pub pages: Vec<Page>,
    /// By plain name: the position in `pages`.
    names: BTreeMap<String, usize>,
    pairs: BTreeMap<(TcpState, TcpState), usize>,
    /// Names that two pages claim, which a test refuses.
    pub clashes: Vec<String>,
    /// What is wrong with files, which a test refuses.
    pub faults: Vec<String>,
    /// Sysctls that pages show.
    pub settings: BTreeSet<String>,
}

/// The library.
pub fn get() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::read(FILES));
    &LIBRARY
}

impl Library {
    fn read(files: &[File]) -> Self {
        let mut library = Self {
            pages: Vec::new(),
            names: BTreeMap::new(),
            pairs: BTreeMap::new(),
            clashes: Vec::new(),
            faults: Vec::new(),
            settings: fill::REQUIRED.iter().map(|name| (*name).to_owned()).collect(),
        };
        for file in files {
            match page::parse(file.name, file.text, file.template) {
                Ok(pages) => pages.into_iter().for_each(|page| library.add(page)),
                Err(fault) => library.faults.push(fault),
            }
        }
        library
    }

    fn add(&mut self, page: Page) {
        let place = self.pages.len();
        if let Some(pair) = page.pair {
            self.claim(&page, self.pairs.get(&pair).copied(), &page.topic);
            self.pairs.insert(pair, place);
        } else {
            for name in page.also.iter().chain([&page.topic, &page.title]) {
                let plain = names::plain(name);
                self.claim(&page, self.names.get(&plain).copied().filter(|other| *other != place), name);
                self.names.insert(plain, place);
            }
        }
        self.settings.extend(fill::settings(&page.markdown()));
        self.pages.push(page);
    }

    fn claim(&mut self, page: &Page, other: Option<usize>, name: &str) {
        if let Some(other) = other {
            self.clashes.push(format!("{name:?} is {} and {}", self.pages[other].topic, page.topic));
        }
    }

    pub fn find(&'static self, text: &str) -> Result<Found, Unknown> {
        if let Some(pair) = names::pair(text) {
            let place = match judge(pair.0, pair.1).cell {
                Some(_) => self.pairs.get(&pair),
                None => self.names.get("illegaltransition"),
            };
            if let Some(place) = place {
                return Ok(Found { page: &self.pages[*place], pair: Some(pair) });
            }
        }
        self.by_name(text)
            .map(|place| Found { page: &self.pages[place], pair: None })
            .ok_or_else(|| Unknown { asked: text.to_owned(), suggestions: self.similar(text) })
    }

    fn by_name(&self, text: &str) -> Option<usize> {
        let plain = names::plain(text);
        let state =
            || TcpState::parse(text.trim()).and_then(|state| self.names.get(&names::plain(state.name())));
        let bare = || names::bare(&plain).into_iter().find_map(|name| self.names.get(name));
        // The id of a finding: `kind:key`.
        let kind = || text.split_once(':').and_then(|(kind, _)| self.names.get(&names::plain(kind)));
        self.names.get(&plain).or_else(state).or_else(bare).or_else(kind).copied()
    }

    fn similar(&'static self, text: &str) -> Vec<&'static str> {
        let asked = names::plain(text);
        let mut best: BTreeMap<usize, usize> = BTreeMap::new();
        for (name, place) in &self.names {
            if let Some(unlike) = names::unlike(&asked, name) {
                let known = best.entry(*place).or_insert(unlike);
                *known = unlike.min(*known);
            }
        }
        let mut best: Vec<(usize, usize)> = best.into_iter().map(|(place, unlike)| (unlike, place)).collect();
        best.sort_unstable();
        best.truncate(SUGGESTIONS);
        best.into_iter().map(|(_, place)| self.pages[place].topic.as_str()).collect()
    }

    /// Pages by section, both in the order of the files.
    pub fn sections(&'static self) -> Vec<(&'static str, Vec<&'static Page>)> {
        let mut sections: Vec<(&str, Vec<&Page>)> = Vec::new();
        for page in &self.pages {
            match sections.iter_mut().find(|(section, _)| *section == page.section) {
                Some((_, pages)) => pages.push(page),
                None => sections.push((&page.section, vec![page])),
            }
        }
        sections
    }

    /// How many names lead to a page, transitions counted once.
    #[cfg(test)]
    pub fn count_names(&self) -> usize {
        self.names.len() + self.pairs.len()
    }
}
