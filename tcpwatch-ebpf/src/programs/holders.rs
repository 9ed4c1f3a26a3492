//! Which process has which socket: a walk over all open files of the host.
//!
//! Events tell the owner only where a call runs in its context; accepted sockets, inherited ones and those older than
//! the programs are found here. The owner is the first process that has the socket, in the order of process ids.

use tcpwatch_common::offsets::Field;
use tcpwatch_common::socket::PASS_BITS;

use crate::maps::{ANSWERS, SURVEY_REQUEST, origin};
use crate::read::{Any, Typed};
use crate::table::{self, launder};

/// `struct bpf_iter__task_file`.
#[repr(C)]
pub(crate) struct IterContext {
    meta: *const u8,
    /// Null, as is `file`, at the end of the walk.
    task: *const u8,
    fd: u32,
    file: *const u8,
}

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const IPPROTO_TCP: u16 = 6;

/// Notes the owners of TCP sockets.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn holders(ctx: *mut IterContext) -> i32 {
    // SAFETY: the kernel passes its context.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    let file = Any(file);
    let Some(inode) = file.read::<u64>(Field::FileInode) else { return 0 };
    if Any(inode as *const u8).read::<u16>(Field::InodeMode).unwrap_or(0) & S_IFMT != S_IFSOCK {
        return 0;
    }
    let Some(socket) = file.read::<u64>(Field::FilePrivate) else { return 0 };
    let Some(sock) = Any(socket as *const u8).read::<u64>(Field::SocketOfFile) else { return 0 };
    let sock_at = Any(sock as *const u8);
    let family = sock_at.read::<u16>(Field::Family).unwrap_or(0);
    if (family != 2 && family != 10) || sock_at.read::<u16>(Field::Protocol) != Some(IPPROTO_TCP) {
        return 0;
    }
    let Some(answers) = ANSWERS.get_ptr_mut(0) else { return 0 };
    // The address of a socket is a plain number here, so the fixed place must be one too: see `Typed::identity`.
    // SAFETY: a word of the map in which nothing else is ever kept.
    let identity = sock.wrapping_sub(launder(origin(), unsafe { &mut (*answers)[1] }));
    let pid: u32 = Typed(task).load(Field::TaskGroup);
    let pass = SURVEY_REQUEST.get(0).map_or(0, |request| request.pass);
    if let (Some(place), Some(_)) = table::find(identity) {
        place.hold(pid, pass as u32 & ((1 << PASS_BITS) - 1));
    }
    0
}
