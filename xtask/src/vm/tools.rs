//! The outside programs of this module that are more than a name in `PATH`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{elf, process};

/// The static busybox of this machine.
pub fn busybox() -> Result<PathBuf> {
    let path = process::find("busybox").context("there is no busybox: apt-get install busybox-static")?;
    if let Some(interpreter) = elf::interpreter(&path)? {
        bail!(
            "{} is dynamically linked ({interpreter}), the guest needs a static one: \
             apt-get install busybox-static",
            path.display()
        );
    }
    Ok(path)
}
