//! Sysctls for the pages that explain: those of the network namespace that tcpwatch runs in.

use crate::explain::{self, Setting, Settings};
use crate::host::sysctl::{self, SysctlError};

/// Reads every sysctl that some page shows.
pub fn settings() -> Settings {
    let read = |name: &str| match sysctl::read_string(name) {
        // Lists have tabs between their numbers.
        Ok(value) => Setting::Value(value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        Err(SysctlError::Absent { .. }) => Setting::Absent,
        Err(error) => Setting::Unreadable(error.to_string()),
    };
    explain::settings().map(|name| (name.to_owned(), read(name))).collect()
}
