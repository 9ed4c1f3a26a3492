//! Reads of kernel memory from plain addresses.
//!
//! Where the kernel has `bpf_rdonly_cast` (since 6.2) an address becomes a pointer of a type, whose fields are loaded by
//! one instruction each; the kernel catches what goes wrong. Elsewhere each field takes a call, which is three times
//! slower.

use core::ffi::c_void;
use core::mem::transmute;
use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tcpwatch_common::offsets::{self, ABSENT, Field, Offsets};
use tcpwatch_common::walk::CAST_CALL;

/// Offsets of kernel fields on the running kernel.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = [ABSENT; offsets::COUNT];

/// The kernel's number for `tcp_sock`; 0 if there is no function that casts.
#[unsafe(no_mangle)]
static TCP_SOCK: u32 = 0;

/// The kernel's number for `inet_timewait_sock`.
#[unsafe(no_mangle)]
static TIMEWAIT_SOCK: u32 = 0;

/// A socket of some kind.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    address: u64,
    typed: *const u8,
}

impl Object {
    /// A socket of which all fields up to those of `tcp_sock` may be read. What is not one has other things there.
    #[inline(always)]
    pub(crate) fn socket(address: u64) -> Self {
        // SAFETY: initialised, aligned and read-only once the program runs.
        Self::new(address, unsafe { read_volatile(&raw const TCP_SOCK) })
    }

    #[inline(always)]
    pub(crate) fn timewait(address: u64) -> Self {
        // SAFETY: as above.
        Self::new(address, unsafe { read_volatile(&raw const TIMEWAIT_SOCK) })
    }

    #[inline(always)]
    fn new(address: u64, kind: u32) -> Self {
        if kind == 0 {
            return Self { address, typed: core::ptr::null() };
        }
        // SAFETY: the loader makes a call of the kernel's function of it.
        let cast: unsafe extern "C" fn(u64, u32) -> *const u8 = unsafe { transmute(CAST_CALL as usize) };
        // SAFETY: it makes a pointer of any number; what is read through it is checked.
        Self { address, typed: unsafe { cast(address, kind) } }
    }

    #[inline(always)]
    pub(crate) fn load<T: Copy + Default>(self, field: Field) -> T {
        if !is_typed() {
            return read(self.address, field);
        }
        // SAFETY: the verifier checks the place, and the kernel that there is memory.
        unsafe { read_volatile(self.typed.add(offset(field)).cast::<T>()) }
    }
}

/// Whether addresses become pointers of a type.
#[inline(always)]
fn is_typed() -> bool {
    // SAFETY: initialised, aligned and read-only once the program runs.
    unsafe { read_volatile(&raw const TCP_SOCK) != 0 }
}

/// Reads a field of what is at an address; zeros if nothing is.
#[inline(always)]
pub(crate) fn read<T: Copy + Default>(address: u64, field: Field) -> T {
    let mut value = T::default();
    copy((&raw mut value).cast(), size_of::<T>(), address.wrapping_add(offset(field) as u64));
    value
}

/// Copies `length` bytes from an address; leaves zeros if there is nothing.
#[inline(always)]
pub(crate) fn copy(into: *mut c_void, length: usize, from: u64) {
    // SAFETY: `into` has room for them, and the helper checks the address.
    unsafe {
        let _ = bpf_probe_read_kernel(into, length as u32, from as *const c_void);
    }
}

/// Whether this kernel has the field. A constant to the verifier, so what depends on it is pruned.
#[inline(always)]
pub(crate) fn has(field: Field) -> bool {
    offset(field) != ABSENT as usize
}

#[inline(always)]
pub(crate) fn offset(field: Field) -> usize {
    // SAFETY: `Field` has `offsets::COUNT` variants, so the index is inside the array.
    unsafe { read_volatile((&raw const OFFSETS).cast::<u16>().add(field as usize)) as usize }
}

/// How far into a socket its links are.
#[inline(always)]
pub(crate) fn link() -> u64 {
    offset(Field::Link) as u64
}
