//! Recordings that can be given away: addresses, users, containers and names of namespaces become others.
//!
//! Within one recording the same becomes the same, and different things stay different; from one to the next nothing
//! is the same. What findings rest on stays: whether an address is loopback, private, link-local or public, ports,
//! names of programs, pids, inode numbers, and every count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Change, Item, Rare, Start};
use crate::process::{Container, IN_POD, Pod, Process, Workload};
use crate::sample::{
    Example, Group, ListenerSample, NamespaceSample, ProgramSample, RemoteSample, Sample, Survey, Tuple,
};

/// Numbers of users below are those of the system, which are the same everywhere.
const FIRST_USER: u32 = 1000;

/// Runs of hexadecimal digits from this length on are ids in texts.
const ID: usize = 12;

/// Replaces what tells whose recording it is.
#[derive(Debug, Default)]
pub struct Redactor {
    /// A key that nobody keeps.
    key: RandomState,
    addresses: HashMap<IpAddr, IpAddr>,
    used: HashSet<IpAddr>,
}

impl Redactor {
    pub fn item(&mut self, item: Item) -> Item {
        match item {
            Item::Start(start) => Item::Start(Start { host: None, redacted: true, ..start }),
            Item::Lost(_) => item,
            // A path can have the name of a user, and no finding rests on it.
            Item::Config(text) => {
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("directory"));
                Item::Config(lines.flat_map(|line| [line, "\n"]).collect())
            }
            Item::Sample(sample) => Item::Sample(Arc::new(self.sample(&sample))),
            Item::Rare(rare) => {
                Item::Rare(Rare { local: self.end(rare.local), remote: self.end(rare.remote), ..rare })
            }
            Item::Change(change) => Item::Change(Change {
                id: self.text(&change.id),
                summary: self.text(&change.summary),
                ..change
            }),
        }
    }

    fn sample(&mut self, sample: &Sample) -> Sample {
        // Named one by one, so that a new field has to be thought of here.
        let kept = sample.clone();
        let Sample { namespaces, listeners, remotes, processes, programs, problems, kernel_memory, .. } =
            sample;
        Sample {
            at: kept.at,
            elapsed: kept.elapsed,
            source: kept.source,
            namespaces: namespaces.iter().map(|namespace| self.namespace(namespace)).collect(),
            host: kept.host,
            reset_reasons: kept.reset_reasons,
            listeners: listeners.iter().map(|listener| self.listener(listener)).collect(),
            remotes: remotes.iter().map(|remote| self.remote(remote)).collect(),
            folded: kept.folded,
            services: kept.services,
            other_ends: kept.other_ends,
            processes: self.processes(processes),
            cgroups: self.processes(&sample.cgroups),
            limits: kept.limits,
            programs: programs.iter().map(|program| self.program(program)).collect(),
            lost_fields: kept.lost_fields,
            ring: kept.ring,
            problems: problems.iter().map(|problem| self.text(problem)).collect(),
            shortages: kept.shortages,
            kernel_memory: *kernel_memory,
        }
    }

    fn namespace(&mut self, namespace: &NamespaceSample) -> NamespaceSample {
        NamespaceSample {
            // The daemon's own name for those that share a row is no secret.
            name: namespace.name.as_ref().map(|name| match name.as_str() {
                "others" => name.clone(),
                _ => format!("netns-{:08x}", self.hash("netns", name) >> 32),
            }),
            survey: namespace.survey.as_ref().map(|survey| Arc::new(self.survey(survey))),
            ..namespace.clone()
        }
    }

    fn survey(&mut self, survey: &Survey) -> Survey {
        let mut groups = survey.groups.clone();
        for Group { example: Example { local, remote }, .. } in &mut groups {
            (*local, *remote) = (self.end(*local), self.end(*remote));
        }
        let mut tuples = survey.tuples.clone();
        for Tuple { local, remote, .. } in &mut tuples {
            (*local, *remote) = (self.address(*local), self.end(*remote));
        }
        Survey { groups, tuples, ..survey.clone() }
    }

    fn listener(&mut self, listener: &ListenerSample) -> ListenerSample {
        ListenerSample {
            local: self.end(listener.local),
            uid: listener.uid.map(|uid| self.uid(uid)),
            ..listener.clone()
        }
    }

    fn remote(&mut self, remote: &RemoteSample) -> RemoteSample {
        RemoteSample { address: self.address(remote.address), ..remote.clone() }
    }

    fn processes(&mut self, processes: &BTreeMap<u32, Arc<Process>>) -> BTreeMap<u32, Arc<Process>> {
        processes.iter().map(|(pid, process)| (*pid, Arc::new(self.process(process)))).collect()
    }

    fn process(&self, process: &Process) -> Process {
        let Process { pid, inner_pid, command, uid, user, cgroup, container, unit, exited, files } =
            process.clone();
        let is_system = uid.is_some_and(|uid| uid < FIRST_USER);
        Process {
            pid,
            inner_pid,
            command,
            uid: uid.map(|uid| self.uid(uid)),
            user: user.map(|user| {
                if is_system { user } else { format!("user-{:08x}", self.hash("user", &user) >> 32) }
            }),
            cgroup: cgroup.map(|cgroup| format!("/redacted/{:016x}", self.hash("cgroup", &cgroup))),
            container: container.map(|Container { runtime, id, name, pod }| Container {
                runtime,
                id: self.hexadecimal(&id),
                name: name.map(|name| self.named("container", &name)),
                pod: pod.map(|pod| self.pod(pod)),
            }),
            // Instances of units are named after what they serve, such as users.
            unit: unit.map(|unit| match unit.split_once('@') {
                Some((template, _)) => format!("{template}@{:08x}.service", self.hash("unit", &unit) >> 32),
                None => unit,
            }),
            exited,
            files,
        }
    }

    fn pod(&self, pod: Pod) -> Pod {
        let Pod { uid, namespace, name, workload } = pod;
        Pod {
            uid: self.hexadecimal(&uid),
            namespace: namespace.map(|namespace| self.named("namespace", &namespace)),
            name: name.map(|name| self.named("pod", &name)),
            // What kind it is tells no more than that it is in a cluster.
            workload: workload
                .map(|Workload { kind, name }| Workload { name: self.named(&kind, &name), kind }),
        }
    }

    /// A name that says of what it is one, and no more.
    fn named(&self, what: &str, name: &str) -> String {
        format!("{what}-{:08x}", self.hash(what, name) >> 32)
    }

    fn program(&mut self, program: &ProgramSample) -> ProgramSample {
        ProgramSample { error: program.error.as_ref().map(|error| self.text(error)), ..program.clone() }
    }

    /// Another number of a user, none of the system's.
    fn uid(&self, uid: u32) -> u32 {
        if uid < FIRST_USER {
            return uid;
        }
        let hash = self.hash("uid", &uid.to_string()) >> 34;
        FIRST_USER + u32::try_from(hash).unwrap_or(0)
    }

    fn hash(&self, what: &str, value: &str) -> u64 {
        self.key.hash_one((what, value))
    }

    /// As many other digits; what is no digit stays.
    fn hexadecimal(&self, text: &str) -> String {
        let digits = (0..).flat_map(|part: u64| {
            let hash = self.key.hash_one((part, text));
            (0..16).map(move |digit| char::from_digit((hash >> (4 * digit) & 15) as u32, 16).unwrap_or('0'))
        });
        text.chars().zip(digits).map(|(c, digit)| if c.is_ascii_hexdigit() { digit } else { c }).collect()
    }

    fn end(&mut self, end: SocketAddr) -> SocketAddr {
        let mut other = end;
        other.set_ip(self.address(end.ip()));
        other
    }

    fn address(&mut self, address: IpAddr) -> IpAddr {
        if let Some(known) = self.addresses.get(&address) {
            return *known;
        }
        let canonical = address.to_canonical();
        let is_mapped = canonical != address;
        // Another one if two would become the same.
        let tries = (0..64u8).map(|attempt| {
            let hash = u128::from(self.key.hash_one((canonical, attempt, 0)))
                | u128::from(self.key.hash_one((canonical, attempt, 1))) << 64;
            match canonical {
                IpAddr::V4(v4) => IpAddr::V4(self::v4(v4, hash)),
                IpAddr::V6(v6) => IpAddr::V6(self::v6(v6, hash)),
            }
        });
        let mut tries = tries.map(|other| match other {
            IpAddr::V4(v4) if is_mapped => v4.to_ipv6_mapped().into(),
            other => other,
        });
        let first = tries.next().unwrap_or(address);
        let other = std::iter::once(first).chain(tries).find(|other| !self.used.contains(other));
        let other = other.unwrap_or(first);
        self.used.insert(other);
        self.addresses.insert(address, other);
        other
    }

    /// Addresses and ids within a text.
    fn text(&mut self, text: &str) -> String {
        let mut parts = text.split(IN_POD);
        let mut out = self.without_pods(parts.next().unwrap_or_default());
        for part in parts {
            let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
            let path = part[..part.find(|c| !is_path(c)).unwrap_or(part.len())].trim_end_matches('.');
            let (namespace, name) = path.split_once('/').unwrap_or(("", path));
            let (namespace, name) = (self.named("namespace", namespace), self.named("pod", name));
            out.extend([IN_POD, &namespace, "/", &name, &self.without_pods(&part[path.len()..])]);
        }
        out
    }

    fn without_pods(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '[' | ']' | '-');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(is_part).unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            out.push_str(&self.word(&rest[..end]));
            rest = &rest[end..];
        }
        out
    }

    /// An address with or without port, with what punctuation or keys put around it; or an id.
    fn word(&mut self, word: &str) -> String {
        // From each place where one can begin, the longest first.
        let starts = word.char_indices().map(|(at, _)| at);
        let is_start = |at: usize| at == 0 || !word.as_bytes()[at - 1].is_ascii_hexdigit();
        for start in starts.filter(|at| is_start(*at)) {
            let ends = (start + 1..=word.len()).rev();
            let is_end = |end: usize| end == word.len() || !word.as_bytes()[end].is_ascii_hexdigit();
            for end in ends.filter(|end| is_end(*end)) {
                let part = &word[start..end];
                let other = if let Ok(end) = part.parse::<SocketAddr>() {
                    self.end(end).to_string()
                } else if let Ok(address) = part.parse::<IpAddr>() {
                    self.address(address).to_string()
                } else {
                    continue;
                };
                return format!("{}{other}{}", &word[..start], self.word(&word[end..]));
            }
        }
        let digits = word.chars().filter(char::is_ascii_hexdigit).count();
        let is_number = word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':');
        if digits >= ID && !is_number { self.hexadecimal(word) } else { word.to_owned() }
    }
}

/// Of the same kind, with other bits.
fn v4(address: Ipv4Addr, hash: u128) -> Ipv4Addr {
    let [a, b, ..] = address.octets();
    let [h0, h1, h2, h3, ..] = hash.to_le_bytes();
    if address.is_loopback() || address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        return address;
    }
    match (a, b) {
        (10, _) => Ipv4Addr::new(10, h0, h1, h2),
        (172, 16..=31) => Ipv4Addr::new(172, 16 + h0 % 16, h1, h2),
        (192, 168) => Ipv4Addr::new(192, 168, h0, h1),
        (169, 254) => Ipv4Addr::new(169, 254, h0, h1),
        (100, 64..=127) => Ipv4Addr::new(100, 64 + h0 % 64, h1, h2),
        // Public ones: from the block that is reserved for ever, so that nobody is taken for somebody else.
        _ => Ipv4Addr::new(240 + h0 % 15, h1, h2, h3),
    }
}

fn v6(address: Ipv6Addr, hash: u128) -> Ipv6Addr {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return address;
    }
    let bits = |prefix: u128, length: u32| Ipv6Addr::from_bits(prefix << (128 - length) | hash >> length);
    match address.segments()[0] {
        0xfe80..=0xfebf => bits(0xfe80, 64 - 48),
        0xfc00..=0xfdff => bits(0xfd, 8),
        // The block for documentation.
        _ => bits(0x2001_0db8, 32),
    }
}

#[cfg(test)]
mod tests;
