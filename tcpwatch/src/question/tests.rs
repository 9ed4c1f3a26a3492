//! Walks over sockets that are made up, with owners that are real.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use tcpwatch_common::TcpState;

use super::*;
use crate::sample::Sample;

/// Tells of these sockets, and counts the walks.
#[derive(Default)]
struct Told {
    sockets: Vec<SocketSample>,
    walks: usize,
    processes: Processes,
}

impl Source for Told {
    fn sample(&mut self, _census: bool) -> Result<Sample, SourceError> {
        Ok(crate::model::testing::sample_at(1.0, 1))
    }

    fn sockets(
        &mut self,
        is_wanted: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(&SocketSample),
    ) -> Result<Vec<String>, SourceError> {
        self.walks += 1;
        self.sockets.iter().filter(|socket| is_wanted(socket.netns)).for_each(each);
        Ok(vec!["one namespace is gone".into()])
    }

    fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }
}

fn socket(port: u16, age: Option<u64>) -> SocketSample {
    let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
    let socket = SocketSample::new(7, TcpState::Established, end(port), end(9));
    SocketSample { age: age.map(Duration::from_secs), ..socket }
}

fn question(filter: &str, limit: usize) -> Question {
    Question { filter: Filter::parse(filter).expect("a filter"), limit }
}

fn ports(answer: &Answer) -> Vec<u16> {
    answer.sockets.iter().map(|(socket, _)| socket.local.port()).collect()
}

#[test]
fn the_oldest_are_kept_and_all_are_counted() {
    let ages = [Some(3), None, Some(9), Some(1), None, Some(9), Some(4)];
    let sockets = (1..).zip(ages).map(|(port, age)| socket(port, age)).collect();
    let mut source = Told { sockets, ..Told::default() };
    let questions = [
        question("state=established", 10),
        question("state=established", 3),
        question("port<=4", 1),
        question("port=99", 5),
        question("netns=8", 5),
        question("netns=7", 0),
    ];
    let answers = answer(&mut source, &questions).expect("a walk");
    assert_eq!(source.walks, 1, "for all who ask");
    let shown: Vec<_> = answers.iter().map(|answer| (ports(answer), answer.total)).collect();
    let expected = [
        (vec![3, 6, 7, 1, 4, 2, 5], 7),
        (vec![3, 6, 7], 7),
        (vec![3], 4),
        (vec![], 0),
        (vec![], 0),
        (vec![], 7),
    ];
    assert_eq!(shown, expected);
    assert!(answers.iter().all(|answer| answer.problems == ["one namespace is gone"]));
}

#[test]
fn owners_are_found_by_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let copy = std::fs::File::from(OwnedFd::from(listener.try_clone().expect("a copy")));
    let inode = copy.metadata().expect("a socket").ino();
    let own = std::process::id();
    let found = SocketSample { inode: Some(inode), uid: Some(0), ..socket(1, Some(5)) };
    let gone = SocketSample { inode: Some(u64::MAX), ..socket(2, Some(4)) };
    let told = SocketSample { pid: Some(own), ..socket(3, Some(3)) };
    let sockets = vec![found, gone, told, socket(4, Some(2))];
    let mut source = Told { sockets, ..Told::default() };
    let command = crate::host::process::command(own).expect("our name");
    // The owner decides, or is only shown.
    for filter in ["port=1-4", "port=1-4 not process=nobody-here"] {
        let answers = answer(&mut source, &[question(filter, 9)]).expect("a walk");
        let pids: Vec<_> = answers[0].sockets.iter().map(|(socket, _)| socket.pid).collect();
        assert_eq!(pids, [Some(own), None, Some(own), None], "{filter}");
        let owner = answers[0].sockets[0].1.as_ref().expect("an owner");
        assert_eq!((owner.pid, owner.command.as_ref()), (own, Some(&command)));
    }
    for (filter, expected) in [
        (format!("pid={own}"), vec![1, 3]),
        (format!("process=\"{command}\""), vec![1, 3]),
        ("user=root".into(), vec![1]),
        (format!("not pid={own}"), vec![2, 4]),
    ] {
        let answers = answer(&mut source, &[question(&filter, 9)]).expect("a walk");
        assert_eq!(ports(&answers[0]), expected, "{filter}");
    }
    drop(listener);
}
