//! The few calls of `bpf(2)` that a program of our own takes, without aya's loader: that reads all of the kernel's types
//! before it loads anything, which takes longer than to list 50,000 sockets, and knows no kernel functions.

use std::ffi::c_uint;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type};
use aya_obj::{Function, Map};

/// Bytes that the kernel has for a name, the last of which is 0.
const NAME: usize = 16;

pub(super) fn create_map(name: &str, map: &Map) -> io::Result<OwnedFd> {
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let wanted = unsafe { &mut attr.__bindgen_anon_1 };
    wanted.map_type = map.map_type();
    wanted.key_size = map.key_size();
    wanted.value_size = map.value_size();
    wanted.max_entries = map.max_entries();
    wanted.map_flags = map.map_flags();
    set_name(&mut wanted.map_name, name);
    descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// Gives a map of one value that value, for good.
pub(super) fn freeze(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0_u32;
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = number(map);
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = value.as_ptr() as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr)?;
    let mut attr = nothing();
    attr.__bindgen_anon_2.map_fd = number(map);
    call(bpf_cmd::BPF_MAP_FREEZE, &mut attr).map(drop)
}

/// Hands the types of an object to the kernel, which programs with callbacks need.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let wanted = unsafe { &mut attr.__bindgen_anon_7 };
    wanted.btf = types.as_ptr() as u64;
    wanted.btf_size = length(types.len());
    descriptor(bpf_cmd::BPF_BTF_LOAD, &mut attr)
}

/// Loads a raw tracepoint program that is attached to nothing.
pub(super) fn load_program(function: &Function, types: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const LICENSE: &[u8] = b"Dual MIT/GPL\0";
    let functions = function.func_info.func_info_bytes();
    let code: &[bpf_insn] = &function.instructions;
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let wanted = unsafe { &mut attr.__bindgen_anon_3 };
    wanted.prog_type = bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT as u32;
    wanted.insns = code.as_ptr() as u64;
    wanted.insn_cnt = length(code.len());
    wanted.license = LICENSE.as_ptr() as u64;
    wanted.prog_btf_fd = number(types);
    wanted.func_info = functions.as_ptr() as u64;
    wanted.func_info_cnt = length(function.func_info.len());
    wanted.func_info_rec_size = length(function.func_info_rec_size);
    set_name(&mut wanted.prog_name, &function.name);
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Runs a raw tracepoint program here and now, in the calling thread.
pub(super) fn run(program: BorrowedFd<'_>, arguments: &[u64]) -> io::Result<()> {
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let wanted = unsafe { &mut attr.test };
    wanted.prog_fd = number(program);
    wanted.ctx_in = arguments.as_ptr() as u64;
    wanted.ctx_size_in = length(size_of_val(arguments));
    call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

/// Takes entries out of a hash map, from a place in it on or from its beginning: how many, and the place to go on from if
/// there are more. Keys and values must be of the map's sizes.
pub(super) fn take_batch<K, V>(
    map: BorrowedFd<'_>,
    place: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let from = place.unwrap_or(0);
    let mut next = 0_u32;
    let mut attr = nothing();
    // SAFETY: the member of the union that the command reads.
    let wanted = unsafe { &mut attr.batch };
    wanted.map_fd = number(map);
    wanted.in_batch = if place.is_some() { (&raw const from) as u64 } else { 0 };
    wanted.out_batch = (&raw mut next) as u64;
    wanted.keys = keys.as_mut_ptr() as u64;
    wanted.values = values.as_mut_ptr() as u64;
    wanted.count = length(keys.len().min(values.len()));
    let result = call(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr);
    // SAFETY: as above; the kernel has written how many there were.
    let count = unsafe { attr.batch.count } as usize;
    match result {
        Ok(_) => Ok((count, Some(next))),
        // Its end.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
        Err(error) => Err(error),
    }
}

fn nothing() -> bpf_attr {
    // SAFETY: all of its members are numbers.
    unsafe { std::mem::zeroed() }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // An open descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn set_name(into: &mut [std::ffi::c_char; NAME], name: &str) {
    for (into, byte) in into[..NAME - 1].iter_mut().zip(name.bytes()) {
        // Signed on x86_64 and unsigned on aarch64.
        *into = std::ffi::c_char::from_ne_bytes([byte]);
    }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("the kernel returned no descriptor"))?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the command reads and writes what `attr` points to, which whoever calls this keeps meanwhile.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as c_uint, &raw mut *attr, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
