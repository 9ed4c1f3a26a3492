//! TCP counters of one network namespace: snmp, netstat, sockstat.
//!
//! Columns are found by name, since every kernel series adds some. These files are
//! read for every namespace at every tick, so nothing is allocated per column.
//! Parsing is pure; [`NetCounters::read`] does the reading.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sample::counters::{Columns, SnmpColumns, SockColumns};
pub use crate::sample::counters::{NetCounters, Snmp, SockStat, TcpExt};

/// The files of the calling thread's namespace; `/proc/net` follows the main thread.
pub const OF_THREAD: &str = "/proc/thread-self/net";

const SNMP: &str = "net/snmp";
const NETSTAT: &str = "net/netstat";
const SOCKSTAT: &str = "net/sockstat";
const SOCKSTAT6: &str = "net/sockstat6";

/// Why counters could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// The file could not be read.
    #[error(
        "cannot read {path}: {source}; the TCP counters of this network namespace are missing \
         (is /proc mounted there?)"
    )]
    Read { path: PathBuf, source: io::Error },
    /// The file was read and is not what the kernel is known to write.
    #[error(
        "cannot understand /proc/{file}, line {line}: {problem}; \
         please report it with the file and the kernel version"
    )]
    Format { file: &'static str, line: usize, problem: String },
}

impl Snmp {
    pub fn parse(text: &str) -> Result<Self, ProcError> {
        let mut found = SnmpColumns::default();
        let line = fill_group(SNMP, text, "Tcp", &mut found)?;
        let need = |value: Option<u64>, column| need(SNMP, line, value, column);
        Ok(Self {
            active_opens: need(found.active_opens, "ActiveOpens")?,
            passive_opens: need(found.passive_opens, "PassiveOpens")?,
            attempt_fails: need(found.attempt_fails, "AttemptFails")?,
            estab_resets: need(found.estab_resets, "EstabResets")?,
            curr_estab: need(found.curr_estab, "CurrEstab")?,
            in_segs: need(found.in_segs, "InSegs")?,
            out_segs: need(found.out_segs, "OutSegs")?,
            retrans_segs: need(found.retrans_segs, "RetransSegs")?,
            out_rsts: need(found.out_rsts, "OutRsts")?,
        })
    }
}

impl TcpExt {
    pub fn parse(text: &str) -> Result<Self, ProcError> {
        let mut found = Self::default();
        fill_group(NETSTAT, text, "TcpExt", &mut found)?;
        Ok(found)
    }
}

impl SockStat {
    pub fn parse(text: &str) -> Result<Self, ProcError> {
        let mut found = SockColumns::default();
        let line = fill_pairs(SOCKSTAT, text, "TCP", &mut found)?;
        let need = |value: Option<u64>, column| need(SOCKSTAT, line, value, column);
        Ok(Self {
            inuse: need(found.inuse, "inuse")?,
            orphan: need(found.orphan, "orphan")?,
            tw: need(found.tw, "tw")?,
            alloc: need(found.alloc, "alloc")?,
            mem: need(found.mem, "mem")?,
        })
    }

    /// Reads this alone, as [`NetCounters::read`] does.
    pub fn read(dir: &Path, buffer: &mut String) -> Result<Self, ProcError> {
        Self::parse(slurp(dir.join("sockstat"), buffer)?)
    }

    /// IPv6 TCP sockets in use, from the text of sockstat6.
    pub fn parse_inuse6(text: &str) -> Result<u64, ProcError> {
        let mut found = SockColumns::default();
        let line = fill_pairs(SOCKSTAT6, text, "TCP6", &mut found)?;
        need(SOCKSTAT6, line, found.inuse, "inuse")
    }
}

impl NetCounters {
    /// Reads the files in `dir`, usually `/proc/thread-self/net`: `/proc/net`
    /// follows the main thread, not the one that entered a namespace.
    /// `buffer` is scratch space, kept by the caller for the next namespace.
    pub fn read(dir: &Path, buffer: &mut String) -> Result<Self, ProcError> {
        let snmp = Snmp::parse(slurp(dir.join("snmp"), buffer)?)?;
        let ext = TcpExt::parse(slurp(dir.join("netstat"), buffer)?)?;
        let sock = SockStat::parse(slurp(dir.join("sockstat"), buffer)?)?;
        let inuse6 = match slurp(dir.join("sockstat6"), buffer) {
            Ok(text) => SockStat::parse_inuse6(text)?,
            Err(ProcError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { snmp, ext, sock, inuse6 })
    }
}

fn slurp(path: PathBuf, buffer: &mut String) -> Result<&str, ProcError> {
    buffer.clear();
    match File::open(&path).and_then(|mut file| file.read_to_string(buffer)) {
        Ok(_) => Ok(buffer),
        Err(source) => Err(ProcError::Read { path, source }),
    }
}

/// Pours one group of a file made of pairs of lines, names above values.
/// Returns the number of the value line.
fn fill_group(
    file: &'static str,
    text: &str,
    group: &str,
    into: &mut impl Columns,
) -> Result<usize, ProcError> {
    let mut lines = text.lines().enumerate();
    while let Some((at, names)) = lines.next() {
        let fail = |below: usize, problem: String| ProcError::Format { file, line: at + 1 + below, problem };
        let Some((name, names)) = names.split_once(':') else {
            return Err(fail(0, "no group name ending in ':'".into()));
        };
        let Some((_, values)) = lines.next() else {
            return Err(fail(0, format!("group {name} has no line of values")));
        };
        let Some((_, values)) = values.split_once(':').filter(|(owner, _)| *owner == name) else {
            return Err(fail(1, format!("expected the values of group {name}")));
        };
        if name != group {
            continue;
        }
        let mut values = values.split_ascii_whitespace();
        for column in names.split_ascii_whitespace() {
            let Some(value) = values.next() else {
                return Err(fail(1, format!("no value for column {column}")));
            };
            if let Some(slot) = into.slot(column) {
                *slot = Some(number(file, at + 2, column, value)?);
            }
        }
        return match values.next() {
            None => Ok(at + 2),
            Some(value) => Err(fail(1, format!("value {value:?} has no column name"))),
        };
    }
    Err(missing(file, text, group))
}

/// Pours the `group: name value name value` line. Returns its number.
fn fill_pairs(
    file: &'static str,
    text: &str,
    group: &str,
    into: &mut impl Columns,
) -> Result<usize, ProcError> {
    for (at, line) in text.lines().enumerate() {
        let Some((_, pairs)) = line.split_once(':').filter(|(name, _)| *name == group) else {
            continue;
        };
        let mut words = pairs.split_ascii_whitespace();
        while let Some(column) = words.next() {
            let value = words.next().unwrap_or_default();
            if let Some(slot) = into.slot(column) {
                *slot = Some(number(file, at + 1, column, value)?);
            }
        }
        return Ok(at + 1);
    }
    Err(missing(file, text, group))
}

fn number(file: &'static str, line: usize, column: &str, value: &str) -> Result<u64, ProcError> {
    value.parse().map_err(|_| ProcError::Format {
        file,
        line,
        problem: format!("{column} is {value:?}, not a count"),
    })
}

fn need(file: &'static str, line: usize, value: Option<u64>, column: &str) -> Result<u64, ProcError> {
    value.ok_or_else(|| ProcError::Format { file, line, problem: format!("column {column} is missing") })
}

fn missing(file: &'static str, text: &str, group: &str) -> ProcError {
    ProcError::Format {
        file,
        line: text.lines().count(),
        problem: format!("the file ends without a group {group}"),
    }
}

#[cfg(test)]
#[path = "procfs_tests.rs"]
mod tests;
