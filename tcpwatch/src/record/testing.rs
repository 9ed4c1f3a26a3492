//! Samples with something in every field, made from numbers that look random.

#![expect(clippy::cast_possible_truncation, reason = "small numbers, or any bits")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tcpwatch_common::TcpState;
use tcpwatch_common::host::{HostCounters, Role};

use crate::process::{Container, Pod, Process, Workload};
use crate::sample::counters::{NetCounters, Snmp, SockStat, TcpExt};
use crate::sample::{
    Census, Ends, Example, FoldedSample, Group, HostLimits, KernelCounters, ListenerSample, Memory, Minis,
    NamespaceSample, ProgramSample, RemoteCounts, RemoteSample, RingSample, Rtts, Sample, SendLimits,
    ServiceSample, Shortage, Side, SourceKind, Survey, Sysctls, Trouble, Tuple, What,
};

/// Numbers that are always the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.number() % most
    }

    /// Small ones, large ones, and now and then the largest.
    fn count(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => self.below(300),
            2 => self.number() >> self.below(64),
            _ => u64::MAX - self.below(2),
        }
    }

    fn small(&mut self) -> u32 {
        (self.count() & u64::from(u32::MAX)) as u32
    }

    fn port(&mut self) -> u16 {
        (self.number() & 0xffff) as u16
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.is().then(|| make(self))
    }

    fn list<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn time(&mut self) -> Duration {
        Duration::new(self.below(1 << 33), self.small() % 1_000_000_000)
    }

    fn text(&mut self) -> String {
        const WORDS: [&str; 6] =
            ["", "nginx", "straße", "10.1.2.3", "a longer text, with 2a00::5 in it", "x"];
        WORDS[self.below(6) as usize].into()
    }

    fn address(&mut self) -> IpAddr {
        let bits = u128::from(self.number()) << 64 | u128::from(self.number());
        if self.is() { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) }
    }

    fn end(&mut self) -> SocketAddr {
        let mut end = SocketAddr::new(self.address(), self.port());
        if let SocketAddr::V6(end) = &mut end {
            end.set_scope_id(self.below(3) as u32);
            end.set_flowinfo(self.below(3) as u32);
        }
        end
    }

    fn state(&mut self) -> TcpState {
        TcpState::ALL[self.below(13) as usize]
    }

    fn role(&mut self) -> Role {
        Role::ALL[self.below(2) as usize]
    }

    fn kernel(&mut self) -> KernelCounters {
        KernelCounters {
            active_opens: self.count(),
            passive_opens: self.count(),
            attempt_fails: self.count(),
            estab_resets: self.count(),
            curr_estab: self.count(),
            embryonic_resets: self.count(),
            time_wait: self.count(),
        }
    }

    fn counters(&mut self) -> NetCounters {
        NetCounters {
            snmp: Snmp { active_opens: self.count(), out_rsts: self.count(), ..Snmp::default() },
            ext: TcpExt {
                syncookies_sent: self.maybe(Self::count),
                listen_drops: Some(self.count()),
                migrate_req_failure: self.maybe(Self::count),
                ..TcpExt::default()
            },
            sock: SockStat { inuse: self.count(), mem: self.count(), ..SockStat::default() },
            inuse6: self.count(),
        }
    }

    fn namespace(&mut self) -> NamespaceSample {
        NamespaceSample {
            inode: self.below(20),
            generation: self.below(3),
            name: self.maybe(Self::text),
            is_own: self.is(),
            is_alive: self.is(),
            cells: self.maybe(|random| std::array::from_fn(|_| random.count())),
            adopted: std::array::from_fn(|_| self.count()),
            illegal: self.list(2, |random| (random.state(), random.state(), random.count())),
            is_complete: self.is(),
            census: self.maybe(|random| Census {
                elapsed: random.time(),
                counts: std::array::from_fn(|_| random.count()),
                minis: random.maybe(|random| Minis { half_open: random.count(), fin_wait2: random.count() }),
            }),
            kernel: self.maybe(|random| (random.kernel(), random.kernel())),
            counters: self.maybe(Self::counters),
            sysctls: self.maybe(|random| {
                Arc::new(Sysctls {
                    somaxconn: random.maybe(Self::count),
                    port_range: random.maybe(|random| (random.port(), random.port())),
                    ..Sysctls::default()
                })
            }),
            survey: self.maybe(|random| Arc::new(random.survey())),
        }
    }

    fn survey(&mut self) -> Survey {
        const TROUBLES: [Trouble; 5] = [
            Trouble::None,
            Trouble::Unacknowledged,
            Trouble::NoKeepalive,
            Trouble::PeerWindowZero,
            Trouble::OwnWindowZero,
        ];
        Survey {
            elapsed: self.time(),
            groups: self.list(4, |random| Group {
                state: random.state(),
                pid: random.maybe(Self::small),
                cgroup: random.maybe(Self::small),
                role: random.maybe(Self::role),
                port: random.port() % 4,
                never_accepted: random.is(),
                orphan: random.is(),
                trouble: TROUBLES[random.below(5) as usize],
                count: random.count(),
                aged: random.count(),
                unknown_age: random.count(),
                oldest: random.time(),
                unread_bytes: random.count(),
                unread: random.count(),
                unsent_bytes: random.count(),
                memory: random.maybe(|random| Memory {
                    send: random.count(),
                    receive: random.count(),
                    reserved: random.count(),
                }),
                example: Example { local: random.end(), remote: random.end() },
            }),
            tuples: self.list(2, |random| Tuple {
                local: random.address(),
                remote: random.end(),
                used: random.count(),
                time_wait: random.count(),
            }),
            folded: self.count(),
            aged_after: std::array::from_fn(|_| if self.is() { self.time() } else { Duration::MAX }),
        }
    }

    fn process(&mut self) -> Process {
        Process {
            pid: self.small(),
            inner_pid: self.maybe(Self::small),
            command: self.maybe(Self::text),
            uid: self.maybe(Self::small),
            user: self.maybe(Self::text),
            cgroup: self.maybe(Self::text),
            container: self.maybe(|random| Container {
                runtime: ["docker", "containerd", "cri-o", "podman", "unknown"][random.below(5) as usize],
                id: "0a".repeat(32),
                name: random.maybe(Self::text),
                pod: random.maybe(|random| Pod {
                    uid: random.text(),
                    namespace: random.maybe(Self::text),
                    name: random.maybe(Self::text),
                    workload: random.maybe(|random| Workload { kind: random.text(), name: random.text() }),
                }),
            }),
            unit: self.maybe(Self::text),
            exited: self.is(),
            files: self.maybe(|random| (random.count(), random.count())),
        }
    }

    fn ends(&mut self) -> Ends {
        Ends {
            connections: self.count(),
            retransmitting: self.maybe(Self::count),
            bytes_out: self.maybe(Self::count),
            bytes_in: self.maybe(Self::count),
            segments: self.maybe(Self::count),
            retransmitted: self.maybe(Self::count),
            limits: self.maybe(|random| SendLimits {
                busy: random.time(),
                window: random.time(),
                buffer: random.time(),
            }),
            rtt: self.maybe(|random| {
                let buckets = std::array::from_fn(|_| random.count());
                Box::new(Rtts { buckets, unknown: random.count() })
            }),
        }
    }

    /// Nobody reads the first words, which are not recorded.
    fn host(&mut self) -> HostCounters {
        let first = std::mem::offset_of!(HostCounters, time_in_state) / 8;
        let words: Vec<u64> =
            (0..HostCounters::WORDS).map(|place| if place < first { 0 } else { self.count() }).collect();
        HostCounters::from_words(&words)
    }

    pub(crate) fn sample(&mut self) -> Sample {
        Sample {
            at: SystemTime::UNIX_EPOCH + self.time(),
            elapsed: self.time(),
            source: [SourceKind::Ebpf, SourceKind::Netlink][self.below(2) as usize],
            namespaces: self.list(5, Self::namespace),
            host: self.maybe(|random| Box::new(random.host())),
            reset_reasons: self.list(3, |random| (random.text(), random.count())),
            listeners: self.list(4, |random| ListenerSample {
                id: random.below(6),
                netns: random.below(2),
                local: random.end(),
                v6_only: random.is(),
                pid: random.maybe(Self::small),
                uid: random.maybe(Self::small),
                accept_queue: random.count(),
                accept_limit: random.count(),
                syn_queue: random.maybe(Self::count),
                young: random.maybe(Self::count),
                stuck: random.maybe(Self::count),
                drops: random.small(),
                synack_retransmits: random.count(),
            }),
            remotes: self.list(4, |random| RemoteSample {
                netns: random.below(2),
                address: random.address(),
                port: random.port(),
                is_client: random.is(),
                pid: random.maybe(Self::small),
                counts: RemoteCounts {
                    timeout: random.count(),
                    fast: random.count(),
                    probe: random.count(),
                    other: random.count(),
                    syn: random.count(),
                    synack: random.count(),
                    resets_sent: random.count(),
                    resets_received: random.count(),
                    failures: std::array::from_fn(|_| random.count()),
                },
            }),
            processes: self
                .list(4, |random| (random.below(6) as u32, Arc::new(random.process())))
                .into_iter()
                .collect(),
            cgroups: self
                .list(4, |random| (random.below(6) as u32, Arc::new(random.process())))
                .into_iter()
                .collect(),
            limits: HostLimits {
                memory_limits: self.maybe(|random| std::array::from_fn(|_| random.count())),
                memory: self.maybe(Self::count),
                orphans: self.maybe(Self::count),
                max_orphans: self.maybe(Self::count),
            },
            programs: self.list(3, |random| ProgramSample {
                name: random.text(),
                id: random.maybe(Self::small),
                hook: random.text(),
                lost: random.maybe(Self::text),
                error: random.maybe(Self::text),
                runs: random.count(),
                nanoseconds: random.count(),
                missed: random.count(),
            }),
            lost_fields: self.list(2, |random| (random.text(), random.text())),
            ring: RingSample {
                seen: self.count(),
                filtered: self.count(),
                lost: self.count(),
                delivered: self.count(),
            },
            problems: self.list(2, Self::text),
            folded: self.list(3, |random| FoldedSample {
                netns: random.below(2),
                service: random.maybe(Self::port),
                pid: random.maybe(Self::small),
                counts: RemoteCounts { syn: random.count(), ..RemoteCounts::default() },
            }),
            services: self.list(3, |random| ServiceSample {
                id: random.below(6),
                netns: random.below(2),
                side: Side::ALL[random.below(3) as usize],
                port: random.port(),
                ends: random.ends(),
            }),
            other_ends: self.maybe(Self::ends),
            shortages: self.list(3, |random| Shortage {
                what: What::ALL[random.below(8) as usize],
                count: random.count(),
                since: SystemTime::UNIX_EPOCH + random.time(),
                netns: random.maybe(Self::count),
                pid: random.maybe(Self::small),
            }),
            kernel_memory: self.maybe(Self::count),
        }
    }

    /// The same sample a little later: most of it unchanged.
    pub(crate) fn later(&mut self, before: &Sample) -> Sample {
        let other = self.sample();
        let mut sample = before.clone();
        sample.elapsed += Duration::from_millis(self.below(2000));
        sample.at += Duration::from_millis(self.below(2000));
        match self.below(8) {
            0 => sample.namespaces = other.namespaces,
            1 => sample.host = other.host,
            2 => sample.listeners = other.listeners,
            3 if !sample.listeners.is_empty() => _ = sample.listeners.remove(0),
            4 => (sample.processes, sample.cgroups) = (other.processes, other.cgroups),
            5 => sample.remotes.extend(other.remotes),
            6 => {
                (sample.folded, sample.shortages) = (other.folded, other.shortages);
                (sample.services, sample.other_ends) = (other.services, other.other_ends);
            }
            _ => sample.kernel_memory = other.kernel_memory,
        }
        sample
    }
}

/// A file that does not outlive its test.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    /// A directory of its own.
    pub(crate) fn new(hint: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcpwatch-{hint}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("write a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
