//! Tells static programs from dynamic ones.
//!
//! The guest has no libraries: a dynamic program would fail there with "not
//! found", which says nothing about the cause. The interpreter named in the ELF
//! program headers gives it away before the boot.

use std::path::Path;

use anyhow::Result;

use crate::process;

const PT_INTERP: usize = 3;

/// Path of the dynamic loader a program asks for; none for static programs and
/// for files that are no 64-bit little-endian ELF at all.
pub fn interpreter(path: &Path) -> Result<Option<String>> {
    Ok(parse(&process::read(path)?))
}

fn parse(data: &[u8]) -> Option<String> {
    if !data.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(data, 32, 8)?;
    let entry_size = number(data, 54, 2)?;
    let count = number(data, 56, 2)?;
    for index in 0..count {
        let entry = table.checked_add(index.checked_mul(entry_size)?)?;
        if number(data, entry, 4)? == PT_INTERP {
            let start = number(data, entry.checked_add(8)?, 8)?;
            let length = number(data, entry.checked_add(32)?, 8)?;
            let name = data.get(start..start.checked_add(length)?)?;
            let name = String::from_utf8_lossy(name);
            return Some(name.trim_end_matches('\0').to_owned());
        }
    }
    None
}

fn number(data: &[u8], offset: usize, size: usize) -> Option<usize> {
    let bytes = data.get(offset..offset.checked_add(size)?)?;
    let mut value = [0; 8];
    value[..size].copy_from_slice(bytes);
    usize::try_from(u64::from_le_bytes(value)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_interpreter() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        assert_eq!(parse(&elf), None);
        elf[64] = 3;
        elf[64 + 8] = 120;
        elf[64 + 32] = 8;
        elf.extend(b"/lib/ld\0");
        assert_eq!(parse(&elf).as_deref(), Some("/lib/ld"));
        elf.truncate(125);
        assert_eq!(parse(&elf), None);
    }

    #[test]
    fn scripts_have_none() {
        assert_eq!(parse(b"#!/bin/sh\n"), None);
    }
}
