//! A host with trouble of every kind, and one without.

use std::time::{Duration, SystemTime};

use tcpwatch_common::TcpState as S;

use crate::sample::Vitals;
use crate::top::data::{
    Finding, Flow, Listener, Memory, Owner, Process, Queue, Remote, Snapshot, Socket, Sockets,
};
use crate::top::{App, Command, Event, Key, Options, Timeline};

/// 2026-01-31 03:12:45
const AT: u64 = 1_769_829_165;

pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(AT + seconds)
}

pub(super) fn options() -> Options {
    Options {
        source: "db1:9717".into(),
        interval: Duration::from_secs(1),
        has_colours: false,
        timeline: None,
    }
}

pub(super) fn app() -> App {
    App::new(options())
}

/// One that shows a recording of two hours.
pub(super) fn player() -> App {
    let timeline = Timeline::new(at(0), at(7200));
    App::new(Options { source: "incident.tcpw".into(), timeline: Some(timeline), ..options() })
}

pub(super) fn process(command: &str, pid: u32) -> Process {
    Process { pid: Some(pid), command: Some(command.into()), ..Process::default() }
}

pub(super) fn quiet(seconds: u64) -> Snapshot {
    let mut counts = [None; S::COUNT];
    for state in S::RFC {
        counts[state.index()] = Some(0);
    }
    counts[S::Listen.index()] = Some(2);
    counts[S::Established.index()] = Some(4);
    Snapshot {
        at: at(seconds),
        host: Some("db1".into()),
        is_ebpf: true,
        uptime: Some(Duration::from_hours(76)),
        namespaces: vec![(4_026_531_840, None), (4_026_532_314, Some("web".into()))],
        counts,
        half_open: Some(0),
        orphans: Some(0),
        is_complete: true,
        flows: Some(Vec::new()),
        findings: Some(Vec::new()),
        listeners: Some(vec![
            listener("0.0.0.0:22", process("sshd", 812), (0, 128), 0),
            listener("[::1]:5432", process("postgres", 1204), (0, 244), 0),
        ]),
        listeners_total: 2,
        owners: vec![Owner { process: process("postgres", 1204), sockets: 4, ..Owner::default() }],
        remotes: Vec::new(),
        remotes_within: Duration::from_secs(10),
        notes: Vec::new(),
    }
}

pub(super) fn listener(local: &str, owner: Process, accept: (u64, u64), drops: u64) -> Listener {
    Listener {
        local: local.into(),
        netns: 4_026_531_840,
        owner,
        accept: Queue { length: Some(accept.0), limit: Some(accept.1) },
        syn: Queue { length: Some(0), limit: Some(accept.1) },
        young: Some(0),
        stuck: Some(0),
        drops,
        causes: vec![("accept queue, SYN".into(), drops), ("syn queue".into(), 0)],
        synack_retransmits: 0,
        sockets: 1,
    }
}

/// Ten seconds later `dropped` is 30 more.
pub(super) fn troubled(seconds: u64) -> Snapshot {
    let mut shot = quiet(seconds);
    for (state, count) in [
        (S::Established, 212),
        (S::SynSent, 3),
        (S::SynRecv, 7),
        (S::TimeWait, 32_076),
        (S::CloseWait, 40),
        (S::LastAck, 1),
        (S::FinWait2, 2),
        (S::Listen, 12),
    ] {
        shot.counts[state.index()] = Some(count);
    }
    (shot.half_open, shot.orphans) = (Some(7), Some(2));
    let flow = |from, to, verdict: &str, count, rate| Flow { from, to, verdict: verdict.into(), count, rate };
    shot.flows = Some(vec![
        flow(S::Close, S::SynSent, "rfc", 912_345, Some(12.0)),
        flow(S::SynSent, S::Established, "rfc", 912_000, Some(11.4)),
        flow(S::Listen, S::SynRecv, "linux", 4_012_345, Some(1240.0)),
        flow(S::SynRecv, S::Established, "rfc", 4_012_344, Some(1240.0)),
        flow(S::Established, S::FinWait1, "rfc", 900_000, Some(640.0)),
        flow(S::FinWait1, S::FinWait2, "rfc", 899_000, Some(639.0)),
        flow(S::FinWait2, S::Close, "linux", 898_000, Some(639.0)),
        flow(S::Established, S::CloseWait, "rfc", 3_000_000, Some(601.0)),
        flow(S::CloseWait, S::LastAck, "rfc", 2_999_960, Some(600.0)),
        flow(S::LastAck, S::Close, "rfc", 2_999_959, Some(600.0)),
        flow(S::Established, S::Close, "rfc", 1234, Some(0.4)),
        flow(S::SynSent, S::Close, "rfc", 345, Some(0.03)),
        flow(S::Closing, S::Close, "linux", 3, Some(0.0)),
    ]);
    let web = Process { place: Some("docker 0123456789ab".into()), ..process("python3", 20_888) };
    shot.findings = Some(vec![overflow(web.clone()), leak(web.clone())]);
    let dropped = 75 + 3 * seconds;
    let mut full = listener("127.0.0.1:18081", web.clone(), (5, 4), dropped);
    full.stuck = Some(2);
    let mut six =
        listener("[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa]:65535", process("envoy", 77), (3000, 4096), 0);
    six.netns = 4_026_532_314;
    shot.listeners.get_or_insert_default().extend([six, full]);
    shot.listeners_total = 4;
    shot.owners = vec![
        Owner {
            process: web,
            critical: 1,
            warning: 1,
            drops: dropped,
            close_wait: 40,
            sockets: 51,
            unread_bytes: 123_456,
            memory: Some(Memory { send: 1_000, receive: 250_000, reserved: 4_000, unaccepted: 70_000 }),
            ..Owner::default()
        },
        Owner {
            process: process("curl", 31),
            retransmits: 12,
            connect_failures: 3,
            sockets: 3,
            ..Owner::default()
        },
        Owner { process: process("postgres", 1204), sockets: 158, ..Owner::default() },
    ];
    let far = Remote {
        address: "203.0.113.9".into(),
        port: 443,
        netns: 4_026_531_840,
        owner: process("curl", 31),
        data: 9,
        syn: 3,
        connect_failures: 3,
        ..Remote::default()
    };
    let client = Remote {
        address: "2001:db8::77".into(),
        port: 18_081,
        is_client: true,
        synack: 4,
        resets_received: 1,
        ..far.clone()
    };
    shot.remotes = vec![client, far];
    shot
}

fn overflow(owner: Process) -> Finding {
    Finding {
        id: "accept_queue_overflow:1".into(),
        kind: "accept_queue_overflow".into(),
        verdict: Some("slow_accept".into()),
        is_critical: true,
        since: Some(at(0)),
        netns: Some(4_026_531_840),
        listener: Some("127.0.0.1:18081".into()),
        destination: None,
        remote: None,
        owner,
        confidence: Some(0.95),
        evidence: vec![("dropped".into(), "30".into()), ("limit".into(), "4".into())],
        summary: "127.0.0.1:18081 dropped 30 connection attempts in 5 s because its accept queue was full (5 wait \
                  now, the limit is 4); python3 (pid 20888) does not accept fast enough"
            .into(),
        meaning: "Connections that clients believe to be made are dropped by the kernel, and clients wait until they \
                  try again."
            .into(),
        advice: vec![
            "See what keeps python3 (pid 20888) from accept(): a blocked accept loop, a full worker pool, no CPU"
                .into(),
            "Then raise the limit: listen()'s backlog and net.core.somaxconn".into(),
        ],
        verify: vec!["ss -ltn 'sport = :18081'".into(), "nstat -az TcpExtListenOverflows".into()],
    }
}

fn leak(owner: Process) -> Finding {
    Finding {
        id: "close_wait_buildup:1".into(),
        kind: "close_wait_buildup".into(),
        verdict: Some("never_closed".into()),
        is_critical: false,
        since: None,
        listener: Some("127.0.0.1:18080".into()),
        summary: "python3 (pid 20888) has not closed 40 sockets whose peers have closed, for 1 min or more"
            .into(),
        ..overflow(owner)
    }
}

pub(super) fn sockets() -> Sockets {
    let socket = |state: &str, age: u64, remote: &str| Socket {
        state: state.into(),
        age: Some(Duration::from_secs(age)),
        local: "127.0.0.1:18080".into(),
        remote: Some(remote.into()),
        netns: 4_026_531_840,
        owner: process("python3", 20_888),
        recv_queue: Some(1),
        send_queue: Some(0),
        retransmits: Some(0),
        rtt: Some(Duration::from_micros(46)),
        vitals: Vitals::default(),
    };
    let far = Socket {
        local: "[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa]:65535".into(),
        recv_queue: Some(123_456),
        age: None,
        rtt: None,
        ..socket("close_wait", 0, "[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaa9]:43210")
    };
    let sockets =
        vec![socket("close_wait", 7512, "10.0.0.7:40001"), socket("last_ack", 3, "10.0.0.8:40002"), far];
    Sockets { sockets, total: 40, problems: Vec::new() }
}

/// What happens, a second apart.
pub(super) fn play(app: &mut App, events: impl IntoIterator<Item = Event>) -> Vec<Command> {
    let mut commands = Vec::new();
    for event in events {
        let now = app.now + Duration::from_secs(1);
        commands.extend(app.update(event, now));
    }
    commands
}

pub(super) fn press(app: &mut App, keys: &[Key]) -> Vec<Command> {
    let now = app.now;
    keys.iter().flat_map(|key| app.update(Event::Key(*key), now)).collect()
}

pub(super) fn type_in(app: &mut App, text: &str) -> Vec<Command> {
    press(app, &text.chars().map(Key::Char).collect::<Vec<_>>())
}

/// With figures of ten seconds.
pub(super) fn in_trouble(mut app: App) -> App {
    let shots = (0..=10).step_by(5).map(|seconds| Event::Snapshot(Box::new(troubled(seconds))));
    play(&mut app, shots);
    app
}
