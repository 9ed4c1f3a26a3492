//! What a survey reads of one socket.
//!
//! Nearly all of it is computed without branches: see [`crate::branchless`].

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::{PASSIVE as WAS_PASSIVE, ROLE_UNKNOWN, SINCE_UNKNOWN};
use tcpwatch_common::state::TcpState;
use tcpwatch_common::survey::{ACTIVE, Key, NEVER_ACCEPTED, ORPHAN, PASSIVE, Ports, Request, port_bit};

use super::{owner, trouble};
use crate::branchless::{below, is_same, is_zero, not, or_zero, wrapped};
use crate::programs::snapshot::load;
use crate::read::{Typed, has};
use crate::table;
use crate::unlearn::unlearn;

/// States in which a FIN has been received and the process may not have read all that came before.
const HAS_FIN: u64 =
    1 << TcpState::CloseWait as u64 | 1 << TcpState::LastAck as u64 | 1 << TcpState::Closing as u64;

/// What is known of one socket; all that are flags or answers are 0 or a bit.
#[derive(Default)]
pub(super) struct Facts {
    /// The upper half of the key, and the bit that says what it is.
    pub(super) owner: u64,
    pub(super) flags: u64,
    pub(super) trouble: u64,
    pub(super) is_age_known: u64,
    pub(super) age: u64,
    pub(super) unread: u64,
    pub(super) unsent: u64,
    pub(super) measured: u64,
    /// These can be negative for a moment.
    pub(super) send_memory: u64,
    pub(super) receive_memory: u64,
    pub(super) reserved_memory: u64,
    pub(super) local_port: u64,
    pub(super) remote_port: u64,
}

/// A whole socket. `None` on a kernel that cannot tell a TCP socket's own fields.
#[inline(always)]
pub(super) fn of_whole(socket: Typed, state: u64, request: &Request) -> Option<Facts> {
    let (pid, known, since) = remembered(socket);
    // The walk gives only the common part of a socket.
    let tcp = socket.tcp()?;
    let is_age_known = is_zero(known & u64::from(SINCE_UNKNOWN));
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let is_known = is_zero(known & u64::from(ROLE_UNKNOWN));
    let was_passive = not(is_zero(known & u64::from(WAS_PASSIVE)));
    let (unread, unsent) = amounts(state, tcp);
    let mut facts = Facts {
        owner: owner::of(pid, socket.any()),
        flags: (is_known * (u64::from(ACTIVE) + was_passive * u64::from(PASSIVE - ACTIVE))) | ownership(tcp),
        trouble: trouble::of(state, tcp, unread, unsent, request),
        is_age_known,
        age: is_age_known * or_zero(now.wrapping_sub(since)),
        unread,
        unsent,
        ..ports(socket)
    };
    if has(Field::SendMemory) && has(Field::ReceiveMemory) && has(Field::ReservedMemory) {
        let signed = |field| i64::from(tcp.load::<i32>(field)).cast_unsigned();
        facts.measured = 1;
        facts.send_memory = signed(Field::SendMemory);
        facts.receive_memory = signed(Field::ReceiveMemory);
        facts.reserved_memory = signed(Field::ReservedMemory);
    }
    Some(facts)
}

/// A mini-socket does not tell who connected. An ephemeral port here was most likely chosen by a `connect()`.
#[inline(always)]
pub(super) fn of_mini(socket: Typed, state: u64, request: &Request) -> Facts {
    let facts = ports(socket);
    let is_other = below(facts.local_port, request.port_low) | below(request.port_high, facts.local_port);
    let is_passive = is_other | is_same(state, TcpState::NewSynRecv as u64);
    Facts { flags: is_passive * u64::from(PASSIVE), ..facts }
}

#[inline(always)]
fn ports(socket: Typed) -> Facts {
    Facts {
        local_port: socket.load::<u16>(Field::LocalPort).into(),
        remote_port: u16::from_be(socket.load(Field::RemotePort)).into(),
        ..Facts::default()
    }
}

/// The owner, the flags and the time of the last transition that are remembered of a socket.
#[inline(always)]
fn remembered(socket: Typed) -> (u64, u64, u64) {
    let (mut owner, mut flags, mut since) = (0, ROLE_UNKNOWN | SINCE_UNKNOWN, 0);
    if let (Some(place), Some(meta)) = table::find(socket.identity()) {
        (owner, flags, since) = (place.owner(), meta.flags(), place.since());
    }
    let packed = unlearn(u64::from(owner) << 8 | u64::from(flags));
    (packed >> 8, packed & 0xff, unlearn(since))
}

/// Whether a process has the socket: not yet, not any more, or (0) one does.
#[inline(always)]
fn ownership(tcp: Typed) -> u64 {
    // `SOCK_DEAD` is the first flag in every kernel.
    let is_orphan = tcp.load::<u64>(Field::Flags) & 1;
    // Subflows of MPTCP never have a file of their own.
    let is_subflow = u64::from(load::<u8>(tcp, Field::IsMptcp) & 1);
    let has_none = unlearn(u64::from(tcp.load::<u64>(Field::Socket) == 0)) & 1;
    is_orphan * u64::from(ORPHAN) + (has_none & not(is_orphan | is_subflow)) * u64::from(NEVER_ACCEPTED)
}

/// Bytes that wait on either side: received and not read, written and not acknowledged.
#[inline(always)]
fn amounts(state: u64, tcp: Typed) -> (u64, u64) {
    let (mut unread, mut unsent) = (0, 0);
    let counts = not(is_same(state, TcpState::SynSent as u64));
    if has(Field::ReceiveNext) && has(Field::CopiedSequence) {
        let (next, copied) = (tcp.load::<u32>(Field::ReceiveNext), tcp.load::<u32>(Field::CopiedSequence));
        // A FIN that was received takes a number too.
        let fin = (HAS_FIN >> state & 1) as u32;
        unread = counts * wrapped(next.wrapping_sub(copied).wrapping_sub(fin));
    }
    if has(Field::WriteSequence) && has(Field::SendUnacknowledged) {
        let written: u32 = tcp.load(Field::WriteSequence);
        unsent = counts * wrapped(written.wrapping_sub(tcp.load(Field::SendUnacknowledged)));
    }
    (unread, unsent)
}

impl Facts {
    /// With the role of one that does not tell it, as a socket older than the programs. One at the port of a listener is a
    /// client's connection to it.
    #[inline(always)]
    pub(super) fn with_role(self, is_mini: u64, services: &Ports) -> Self {
        let is_unknown = is_zero(self.flags & u64::from(ACTIVE | PASSIVE));
        let (word, _) = port_bit(self.local_port as u16);
        let is_service = services[word & (services.len() - 1)] >> (self.local_port & 63) & 1;
        let passive = is_service * u64::from(PASSIVE);
        let active = (not(is_service) & is_mini) * u64::from(ACTIVE);
        Self { flags: unlearn(self.flags | (is_unknown * (passive | active))), ..self }
    }

    /// The group it is counted in.
    #[inline(always)]
    pub(super) fn key(&self, state: u64) -> Key {
        // Where the service is not known to be here, it is there.
        let is_passive = not(is_zero(self.flags & u64::from(PASSIVE)));
        let port = is_passive * self.local_port + not(is_passive) * self.remote_port;
        let rest = Key::new(0, port as u16, state as u8, self.flags as u8, self.trouble as u8);
        Key(rest.0 | unlearn(self.owner))
    }
}
