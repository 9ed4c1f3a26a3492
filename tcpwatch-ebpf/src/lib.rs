//! Nothing: a library target lets the daemon's build script depend on this crate, so that cargo rebuilds the
//! eBPF object when its dependencies change.

#![no_std]
