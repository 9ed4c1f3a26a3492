//! Reads network sysctls of the calling thread's namespace.
//!
//! `/proc/sys/net` always shows the namespace of the task that looks, so inside
//! `netns::within` these are the values of that namespace. Some sysctls
//! (`net.ipv4.tcp_mem` and others of the whole host) exist only in the initial
//! namespace; elsewhere reading them fails with the absent variant.

use std::fs;
use std::io::{self, ErrorKind};

/// Why a sysctl has no value.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// Not a dotted name below `net.`.
    #[error("{name:?} is not a network sysctl; a name looks like net.ipv4.tcp_max_syn_backlog")]
    Name { name: String },
    /// This kernel or this namespace does not have it.
    #[error(
        "sysctl {name} does not exist here: the kernel lacks it or shows it only in the \
         initial network namespace; what depends on it is left out"
    )]
    Absent { name: String },
    #[error("cannot read sysctl {name}: {source}; check that /proc/sys is mounted and readable")]
    Read { name: String, source: io::Error },
    /// It holds a list, a word or a negative number.
    #[error("sysctl {name} is {value:?}, not a single count; read it as text instead")]
    NotANumber { name: String, value: String },
}

/// The value as text, without the final newline.
pub fn read_string(name: &str) -> Result<String, SysctlError> {
    let named = || name.to_owned();
    let plain = name.starts_with("net.")
        && name.split('.').all(|part| !part.is_empty())
        && !name.contains(['/', '\0']);
    if !plain {
        return Err(SysctlError::Name { name: named() });
    }
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(SysctlError::Absent { name: named() }),
        Err(source) => Err(SysctlError::Read { name: named(), source }),
    }
}

/// The value as one unsigned number.
pub fn read_u64(name: &str) -> Result<u64, SysctlError> {
    let value = read_string(name)?;
    value.parse().map_err(|_| SysctlError::NotANumber { name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testns::TestNs;

    #[test]
    fn reads_and_names_what_fails() {
        assert!(read_u64("net.ipv4.tcp_max_syn_backlog").unwrap() > 0);
        assert!(!read_string("net.ipv4.tcp_rmem").unwrap().is_empty());
        let error = read_u64("net.ipv4.tcp_rmem").unwrap_err();
        assert!(matches!(error, SysctlError::NotANumber { .. }), "{error}");
        let error = read_u64("net.ipv4.no_such_thing").unwrap_err();
        assert!(matches!(error, SysctlError::Absent { .. }), "{error}");
        assert!(error.to_string().contains("net.ipv4.no_such_thing"));
        for bad in ["kernel.pid_max", "net.", "net..x", "net./../kernel", ""] {
            let error = read_string(bad).unwrap_err();
            assert!(matches!(error, SysctlError::Name { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn shows_the_namespace_of_the_thread() {
        let ns = TestNs::new("sysctl");
        ns.exec("sysctl -qw net.ipv4.tcp_max_syn_backlog=77");
        let inside = ns.within(|| read_u64("net.ipv4.tcp_max_syn_backlog")).unwrap();
        assert_eq!(inside, 77);
        assert_ne!(read_u64("net.ipv4.tcp_max_syn_backlog").unwrap(), 77);
    }
}
