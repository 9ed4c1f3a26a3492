//! Single sockets, as the walk over them tells: known where they were seen being made, unknown where they are older.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use tcpwatch::kernel::{Counters, Kernel};
use tcpwatch_common::event::{Row, UNKNOWN};
use tcpwatch_common::socket::{BIRTH_UNKNOWN, PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};

use super::Bed;
use super::figures::small;
use crate::support::states::{Held, LISTEN, SYN_SENT};

pub(super) fn rows(kernel: &mut Kernel, bed: &Bed) -> Vec<Row> {
    bed.ns.run(|| {
        let mut rows = Vec::new();
        kernel.rows(|row| rows.push(*row)).expect("walk the sockets");
        rows
    })
}

fn endpoints(row: &Row) -> (SocketAddr, SocketAddr) {
    let end = |ip: [u8; 16], port| SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port);
    (end(row.local, row.local_port), end(row.remote, row.remote_port))
}

pub(super) fn find(rows: &[Row], local: SocketAddr, remote: SocketAddr) -> &Row {
    let mut found = rows.iter().filter(|row| endpoints(row) == (local, remote));
    let (row, more) = (found.next(), found.next());
    assert!(more.is_none(), "{local} {remote} was told of twice");
    row.unwrap_or_else(|| panic!("no row for {local} {remote} among {rows:#?}"))
}

/// Every socket is told of once, and in its state.
fn assert_all_told(rows: &[Row], held: &Held) {
    for socket in &held.sockets {
        let row = find(rows, socket.local, socket.remote);
        let shown = if row.state == 12 { 3 } else { row.state };
        assert_eq!(shown, socket.state, "{socket:?}");
        if socket.fd.is_none() {
            // A mini-socket has no age, and a request's owner is its listener's.
            assert_eq!((row.flags, row.pid, row.inode), (0, 0, 0), "{row:?}");
            assert_eq!((row.in_state, row.lifetime), (UNKNOWN, UNKNOWN));
        }
    }
}

#[test]
fn only_the_age_and_owner_of_sockets_seen_being_made_are_known() {
    let bed = Bed::new("rows");
    let old = bed.hold_all(3, false);
    let mut kernel = Kernel::open(&small()).expect("load the programs");
    let mut counters = Counters::open(&mut kernel).expect("open the maps");
    bed.ns.run(|| kernel.census(&mut counters)).expect("meet the older sockets");
    kernel.adopt(false).expect("stop meeting sockets");

    let new = bed.hold_all(3, false);
    let (client, server, listener) = bed.ns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        (client, server, listener)
    });
    let rows = rows(&mut kernel, &bed);
    assert_eq!(rows.len(), old.sockets.len() + new.sockets.len() + 3, "one row for each socket");
    assert_all_told(&rows, &old);
    assert_all_told(&rows, &new);

    for socket in old.sockets.iter().filter(|socket| socket.fd.is_some()) {
        let row = find(&rows, socket.local, socket.remote);
        let flags = BIRTH_UNKNOWN | SINCE_UNKNOWN | ROLE_UNKNOWN;
        assert_eq!((row.flags, row.pid), (flags, 0), "{row:?}");
        assert_eq!((row.in_state, row.lifetime), (UNKNOWN, UNKNOWN), "{row:?}");
        assert_ne!(row.inode, 0, "its descriptor can be found");
    }
    let own = std::process::id();
    for socket in new.sockets.iter().filter(|socket| socket.fd.is_some()) {
        let row = find(&rows, socket.local, socket.remote);
        assert_eq!(row.flags & (BIRTH_UNKNOWN | SINCE_UNKNOWN | ROLE_UNKNOWN), 0, "{row:?}");
        assert!(row.in_state <= row.lifetime && row.lifetime != UNKNOWN, "{row:?}");
        if matches!(socket.state, SYN_SENT | LISTEN) {
            assert_eq!((row.pid, row.flags), (own, 0), "{row:?}");
        }
    }
    let (from, to) = (client.local_addr().expect("address"), client.peer_addr().expect("address"));
    let (active, passive) = (find(&rows, from, to), find(&rows, to, from));
    assert_eq!((active.pid, active.flags), (own, 0), "{active:?}");
    assert_eq!((passive.pid, passive.flags), (0, PASSIVE), "{passive:?}");
    let any = SocketAddr::new([0, 0, 0, 0].into(), 0);
    assert_eq!(find(&rows, listener.local_addr().expect("address"), any).pid, own);
    drop((old, new, client, server, listener));
}
