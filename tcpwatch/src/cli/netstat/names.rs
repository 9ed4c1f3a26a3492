//! `--resolve`: names of the remote addresses that were shown, below the listing, which did not wait for them.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use crate::host::resolver;

/// Addresses whose names are looked for at most.
pub(super) const MOST: usize = 256;

/// How long name servers have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the names that are known in time.
pub(super) fn names(addresses: &BTreeSet<IpAddr>, out: &mut dyn Write) -> Result<()> {
    out.flush()?;
    let known = resolver::names(addresses, PATIENCE);
    if known.is_empty() {
        writeln!(out, "\nnone of the {} remote addresses has a name", addresses.len())?;
        return Ok(());
    }
    writeln!(out)?;
    let width = known.keys().map(|address| address.to_string().len()).max().unwrap_or(0);
    for (address, name) in &known {
        writeln!(out, "{:<width$}  {name}", address.to_string())?;
    }
    Ok(())
}
