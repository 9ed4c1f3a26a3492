//! The watcher against an API that is a stub: what it asks, what it knows, and what it makes of trouble.

mod stub;

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::process::{Container, Pod};
use crate::roster::{Roster, Status};
use stub::{Fault, Stub, pod};

/// As patient as a test.
const QUICK: Patience = Patience {
    first: Duration::from_millis(20),
    most: Duration::from_millis(100),
    lasting: Duration::from_millis(200),
    answer: Duration::from_secs(2),
    watch: Duration::from_secs(30),
    brief: Duration::from_millis(100),
};

fn options(kubeconfig: &Path, patience: Patience) -> Options {
    Options { kubeconfig: Some(kubeconfig.to_owned()), node: "node-1".into(), patience }
}

/// A watcher in a thread of its own, as in the daemon; it ends with the test.
struct Watched {
    stub: Stub,
    roster: Roster,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Watched {
    fn new(name: &str, stub: Stub, patience: Patience) -> Self {
        let kubeconfig = stub.kubeconfig(name);
        let (roster, options) = (Roster::default(), options(&kubeconfig, patience));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shared = roster.clone();
        std::thread::spawn(move || {
            runtime().block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = follow(options, shared) => match never {},
                }
            });
        });
        Self { stub, roster, _stop: stop }
    }

    /// What a container in a pod with this uid is called: its name, and its pod's path.
    fn called(&self, id: &str, uid: &str) -> Option<(String, String)> {
        let pod = Some(Pod { uid: uid.into(), ..Pod::default() });
        let mut container = Container { runtime: "unknown", id: id.into(), name: None, pod };
        self.roster.latest().1.complete(&mut container);
        Some((container.name.unwrap_or_default(), container.pod?.path()?))
    }

    /// Waits until it is called so.
    fn expect(&self, id: &str, uid: &str, name: &str, path: &str) {
        let wanted = Some((name.to_owned(), path.to_owned()));
        self.until(&format!("{id} of {uid} is {wanted:?}"), || self.called(id, uid) == wanted);
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            let (status, asked) = (self.roster.status(), self.stub.asked());
            assert!(Instant::now() < deadline, "not in time: {what}; {status:?}, {asked:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_status(&self, what: &str, is_so: impl Fn(&Status) -> bool) {
        self.until(what, || is_so(&self.roster.status()));
    }

    /// How often a list was asked for, and a watch.
    fn lists_and_watches(&self) -> (usize, usize) {
        let asked = self.stub.asked();
        let watches = asked.iter().filter(|path| path.contains("watch=true")).count();
        (asked.len() - watches, watches)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn watched(name: &str) -> Watched {
    let stub = Stub::new();
    stub.put(pod("u1", "web-1", &["c1"]));
    let watched = Watched::new(name, stub, QUICK);
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    watched.until_status("it is up", |status| status.up && status.error.is_none());
    watched
}

#[test]
fn pods_are_listed_once_and_every_change_is_known() {
    let watched = watched("changes");
    let list = &watched.stub.asked()[0];
    assert_eq!(list, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&limit=250&resourceVersion=0");
    watched.stub.put(pod("u2", "web-2", &[]));
    // Its status does not name its container yet.
    watched.expect("c2", "u2", "", "shop/web-2");
    watched.stub.put(pod("u2", "web-2", &["c2"]));
    watched.expect("c2", "u2", "nginx", "shop/web-2");
    let mut elsewhere = pod("u3", "web-3", &["c3"]);
    elsewhere["spec"]["nodeName"] = "node-2".into();
    watched.stub.put(elsewhere);
    watched.stub.delete("u1");
    watched.until("one has gone", || watched.roster.latest().1.running() == 1);
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    assert_eq!(watched.called("c3", "u3"), None);
    assert_eq!(watched.lists_and_watches(), (1, 1), "{:?}", watched.stub.asked());
    let watch = &watched.stub.asked()[1];
    assert!(
        watch.contains("&watch=true&allowWatchBookmarks=true&resourceVersion=1001&timeoutSeconds="),
        "{watch}"
    );
}

#[test]
fn a_watch_that_ends_goes_on_where_it_was() {
    let stub = Stub::new();
    stub.put(pod("u1", "web-1", &["c1"]));
    let patience = Patience { watch: Duration::from_secs(1), ..QUICK };
    let watched = Watched::new("ends", stub, patience);
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    watched.stub.bookmark();
    watched.until("a third watch", || watched.lists_and_watches().1 >= 3);
    watched.stub.put(pod("u2", "web-2", &["c2"]));
    watched.expect("c2", "u2", "nginx", "shop/web-2");
    assert_eq!(watched.lists_and_watches().0, 1, "{:?}", watched.stub.asked());
    let last = watched.stub.asked().pop().expect("a watch");
    assert!(
        last.contains("resourceVersion=1101") || last.contains("resourceVersion=1102"),
        "a bookmark counts: {last}"
    );
    assert!(watched.roster.status().up && watched.roster.status().error.is_none());
}

#[test]
fn a_torn_line_costs_nothing() {
    let watched = watched("torn");
    watched.stub.tear();
    watched.stub.fail([Fault::Torn, Fault::Hangup]);
    watched.until("it watches again", || watched.lists_and_watches().1 >= 4);
    watched.stub.put(pod("u2", "web-2", &["c2"]));
    watched.expect("c2", "u2", "nginx", "shop/web-2");
    assert_eq!(watched.lists_and_watches().0, 1, "nothing was listed again: {:?}", watched.stub.asked());
}

#[test]
fn what_the_api_has_forgotten_is_listed_again() {
    for by_code in [false, true] {
        let watched = watched(if by_code { "gone-code" } else { "gone-line" });
        // All at once: nobody is told of the pods that came and went.
        watched.stub.put(pod("u2", "web-2", &["c2"]));
        watched.expect("c2", "u2", "nginx", "shop/web-2");
        watched.stub.compact(by_code);
        watched.stub.tear();
        watched.until("it is listed again", || watched.lists_and_watches().0 >= 2);
        let lists: Vec<String> =
            watched.stub.asked().into_iter().filter(|path| !path.contains("watch=true")).collect();
        // From memory, in which it may be too old: then the watch says so once more, and all is looked through.
        assert!(lists[1].contains("&resourceVersionMatch=NotOlderThan"), "{lists:?}");
        assert!(!lists[1].contains("limit"), "{lists:?}");
        watched.stub.put(pod("u3", "web-3", &["c3"]));
        watched.expect("c3", "u3", "nginx", "shop/web-3");
        watched.expect("c1", "u1", "nginx", "shop/web-1");
        watched.until_status("it is up", |status| status.up && status.error.is_none());
    }
}

#[test]
fn long_lists_come_in_pages() {
    let stub = Stub::new();
    for number in 0..600 {
        stub.put(pod(&format!("u{number:03}"), &format!("web-{number}"), &[]));
    }
    let watched = Watched::new("pages", stub, QUICK);
    watched
        .until("all are known", || watched.roster.latest().1.running() == 600 && watched.roster.status().up);
    // It is too old to go on from, and what is in memory is as well, or has not come that far.
    for (time, (code, said)) in
        [(410, "too old resource version"), (504, "Too large resource version")].into_iter().enumerate()
    {
        let (lists, watches) = watched.lists_and_watches();
        watched.stub.fail([Fault::Code(410, "too old resource version"), Fault::Code(code, said)]);
        watched.stub.tear();
        watched.until("one out of memory, then three pages", || watched.lists_and_watches().0 == lists + 4);
        watched.until("a watch from there", || watched.lists_and_watches().1 >= watches + 2);
        assert_eq!(watched.roster.latest().1.running(), 600, "{time}");
    }
    watched.until_status("it is up", |status| status.up);
}

#[test]
fn who_may_not_is_told_what_is_missing_and_goes_on_trying() {
    let stub = Stub::new();
    stub.put(pod("u1", "web-1", &["c1"]));
    let words = "pods is forbidden: User \"system:serviceaccount:monitoring:tcpwatch\" cannot list resource \"pods\" in \
                 API group \"\" at the cluster scope";
    stub.fail([Fault::Code(403, words), Fault::Code(403, words), Fault::Code(401, "Unauthorized")]);
    let began = Instant::now();
    let watched = Watched::new("forbidden", stub, QUICK);
    let says =
        |status: &Status, word: &str| status.error.as_ref().is_some_and(|(_, error)| error.contains(word));
    watched.until_status("it says what is missing", |status| {
        !status.up
            && says(status, "system:serviceaccount:monitoring:tcpwatch")
            && says(status, "ClusterRole with the verbs list and watch on pods")
    });
    assert_eq!((watched.called("c1", "u1"), watched.roster.latest().0), (None, 0));
    watched.until_status("who asks is not known", |status| says(status, "(401)"));
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    watched.until_status("it is up, and what was wrong is kept", |status| status.up && says(status, "(401)"));
    assert!(began.elapsed() >= Duration::from_millis(3 * 150), "slowly");
}

#[test]
fn a_wrong_token_is_told() {
    let stub = Stub::new();
    let kubeconfig = stub.kubeconfig("token");
    let text = std::fs::read_to_string(&kubeconfig).expect("it is there").replace(stub::TOKEN, "wrong");
    std::fs::write(&kubeconfig, text).expect("it can be written");
    let error = runtime().block_on(probe(&options(&kubeconfig, QUICK))).expect_err("nobody is let in");
    assert!(matches!(&error, Trouble::Unknown(said) if said == "Unauthorized"), "{error}");
}

#[test]
fn trouble_of_all_kinds_passes() {
    let watched = watched("trouble");
    watched.stub.fail([
        Fault::Code(500, "etcdserver: request timed out"),
        Fault::Html(502),
        Fault::Busy(0),
        Fault::Hangup,
        Fault::Line("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":7}}".into()),
    ]);
    watched.stub.tear();
    let said = std::cell::RefCell::new(std::collections::BTreeSet::new());
    watched.until("all of it", || {
        if let Some((_, error)) = watched.roster.status().error {
            said.borrow_mut().insert(error);
        }
        let state = watched.roster.status();
        state.up && watched.lists_and_watches().0 == 2
    });
    watched.stub.put(pod("u2", "web-2", &["c2"]));
    watched.expect("c2", "u2", "nginx", "shop/web-2");
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    let said = said.into_inner();
    for words in ["etcdserver: request timed out", "502 Bad Gateway"] {
        assert!(said.iter().any(|error| error.contains(words)), "{words} is not in {said:?}");
    }
}

#[test]
fn what_was_known_stays_while_the_api_is_silent() {
    let stub = Stub::new();
    stub.put(pod("u1", "web-1", &["c1"]));
    let patience = Patience { answer: Duration::from_millis(300), ..QUICK };
    let watched = Watched::new("silent", stub, patience);
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    watched.stub.fail([Fault::Late(Duration::from_secs(1)), Fault::Late(Duration::from_secs(1))]);
    watched.stub.tear();
    watched.until_status("it is told", |status| {
        !status.up && status.error.as_ref().is_some_and(|(_, error)| error.contains("did not answer within"))
    });
    watched.expect("c1", "u1", "nginx", "shop/web-1");
    watched.until_status("it is up again", |status| status.up);
}

#[test]
fn without_a_cluster_the_error_says_what_to_do() {
    let nowhere = options("/nonexistent/kubeconfig".as_ref(), QUICK);
    let error = runtime().block_on(probe(&nowhere)).expect_err("no file").to_string();
    assert!(error.contains("/nonexistent/kubeconfig"), "{error}");
    let stub = Stub::new();
    stub.put(pod("u1", "web-1", &["c1"]));
    let kubeconfig = stub.kubeconfig("probe");
    let (server, pods) = runtime().block_on(probe(&options(&kubeconfig, QUICK))).expect("it answers");
    assert_eq!((server, pods), (format!("http://{}", stub.address), 1));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
    let text = std::fs::read_to_string(&kubeconfig).expect("it is there");
    std::fs::write(&kubeconfig, text.replace(&stub.address.to_string(), &closed.to_string()))
        .expect("written");
    let error =
        runtime().block_on(probe(&options(&kubeconfig, QUICK))).expect_err("nobody listens").to_string();
    assert!(error.contains(&closed.to_string()) && error.contains("refused"), "{error}");
}
