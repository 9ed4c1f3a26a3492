//! The only raw reads of kernel memory.
//!
//! Two ways: a direct load, which costs one instruction and which the verifier allows through a typed pointer
//! (a tracepoint argument or what is reached from one) at a constant offset; and `bpf_probe_read_kernel`, which
//! is safe on any pointer and reaches fields behind the typed part of a socket.

use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf};
use tcpwatch_common::offsets::{ABSENT, BIT_SHIFT, Field};

use crate::maps::{offset, origin, tcp_cast};

/// A pointer that the verifier knows the type of.
#[derive(Clone, Copy)]
pub(crate) struct Typed(pub(crate) *const u8);

impl Typed {
    /// Loads a field that every kernel has.
    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, field: Field) -> T {
        // SAFETY: the offset comes from the running kernel's BTF for this structure and size; the verifier
        // checks the access again.
        unsafe { read_volatile(self.0.add(offset(field) as usize).cast::<T>()) }
    }

    /// Loads the byte that a bitfield begins in, with the bitfield's lowest bit as its lowest. The kernel has it.
    #[inline(always)]
    pub(crate) fn bits(self, field: Field) -> u8 {
        let offset = offset(field);
        // SAFETY: as above.
        let byte = unsafe { read_volatile(self.0.add((offset & ((1 << BIT_SHIFT) - 1)) as usize)) };
        byte >> (offset >> BIT_SHIFT)
    }

    /// Loads a part of a field that lies `beyond` its first byte.
    #[inline(always)]
    pub(crate) fn load_at<T: Copy>(self, field: Field, beyond: usize) -> T {
        // SAFETY: as above.
        unsafe { read_volatile(self.0.add(offset(field) as usize + beyond).cast::<T>()) }
    }

    /// Loads the byte that a bitfield begins in, with the bitfield's lowest bit as its lowest.
    #[inline(always)]
    pub(crate) fn load_bits(self, field: Field) -> u8 {
        let offset = offset(field);
        let byte = (offset & ((1 << BIT_SHIFT) - 1)) as usize;
        // SAFETY: as above.
        unsafe { read_volatile(self.0.add(byte)) >> (offset >> BIT_SHIFT) }
    }

    /// Follows a pointer field to another typed structure.
    #[inline(always)]
    pub(crate) fn follow(self, field: Field) -> Self {
        Self(self.load::<*const u8>(field))
    }

    /// The socket as a TCP socket, whose own fields can then be loaded. Direct loads cost a tenth of what a
    /// `bpf_probe_read_kernel` does. `None` on kernels without the cast (5.8), and for anything else than TCP.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<Self> {
        if tcp_cast() == 0 {
            return None;
        }
        // SAFETY: the helper checks what the pointer is.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut().cast()) };
        if tcp.is_null() { None } else { Some(Self(tcp.cast::<u8>())) }
    }

    /// The same where the socket is known to be one of TCP: `None` inside is only that this kernel cannot cast. `None`
    /// outside never happens, and the verifier need not walk on.
    #[expect(clippy::option_option, reason = "both are asked for by `?`, one after the other")]
    #[inline(always)]
    pub(crate) fn sure_tcp(self) -> Option<Option<Self>> {
        if tcp_cast() == 0 { Some(None) } else { Some(Some(self.tcp()?)) }
    }

    /// Loads a field of a TCP socket; `None` if this kernel lacks it or the cast.
    #[inline(always)]
    pub(crate) fn tcp_field<T: Copy>(self, field: Field) -> Option<T> {
        if has(field) { Some(self.tcp()?.load(field)) } else { None }
    }

    /// The same object for reads that the verifier need not understand.
    #[inline(always)]
    pub(crate) fn any(self) -> Any {
        Any(self.0)
    }

    /// A number that stands for the object as long as it lives.
    ///
    /// The verifier forbids arithmetic on a typed pointer, except the difference of two pointers: the distance
    /// from a fixed place identifies the object just as well.
    #[inline(always)]
    pub(crate) fn identity(self) -> u64 {
        (self.0 as u64).wrapping_sub(origin())
    }
}

/// Any kernel address.
#[derive(Clone, Copy)]
pub(crate) struct Any(pub(crate) *const u8);

impl Any {
    /// Reads a field; `None` if this kernel lacks it or the address is bad.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self, field: Field) -> Option<T> {
        let offset = offset(field);
        if offset == ABSENT {
            return None;
        }
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(self.0.wrapping_add(offset as usize).cast::<T>()).ok() }
    }

    /// Reads the byte that a bitfield begins in, with the bitfield's lowest bit as its lowest.
    #[inline(always)]
    pub(crate) fn read_bits(self, field: Field) -> Option<u8> {
        let offset = offset(field);
        if offset == ABSENT {
            return None;
        }
        let byte = self.0.wrapping_add((offset & ((1 << BIT_SHIFT) - 1)) as usize);
        // SAFETY: the helper checks the address.
        let byte = unsafe { bpf_probe_read_kernel(byte).ok() }?;
        Some(byte >> (offset >> BIT_SHIFT))
    }

    /// Copies a field of 16 bytes.
    #[inline(always)]
    pub(crate) fn read_address(self, field: Field, into: &mut [u8; 16]) {
        let offset = offset(field);
        if offset != ABSENT {
            // SAFETY: the helper checks the address, and on failure leaves zeros.
            let _ = unsafe { bpf_probe_read_kernel_buf(self.0.wrapping_add(offset as usize), into) };
        }
    }
}

/// Whether this kernel has the field. A constant to the verifier, so what depends on it is pruned.
#[inline(always)]
pub(crate) fn has(field: Field) -> bool {
    offset(field) != ABSENT
}
