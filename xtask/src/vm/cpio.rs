//! Writes archives in cpio's "newc" format, the one the kernel unpacks.
//!
//! Each entry is a header of 13 hexadecimal fields, the name with a NUL, and
//! the data; name and data are padded to a multiple of four. Written by hand,
//! it needs no cpio tool, no scratch tree and no root to make device nodes.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

pub struct Archive<W> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self { out, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory and its parents, each once.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.directory_as(path, 0o755)
    }

    /// The same, with permissions of its own.
    pub fn directory_as(&mut self, path: &str, permissions: u32) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.parent(path)?;
        self.entry(path, DIRECTORY | (permissions & 0o7777), (0, 0), &[])
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.parent(path)?;
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a file, and its directory if need be.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.parent(path)?;
        self.entry(path, REGULAR | (permissions & 0o7777), (0, 0), data)
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.parent(path)?;
        self.entry(path, CHARACTER | permissions, (major, minor), &[])
    }

    /// Writes the end mark and hands the writer back.
    pub fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush().context("cannot write the archive")?;
        Ok(self.out)
    }

    /// The kernel does not make missing directories by itself.
    fn parent(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len())
            .with_context(|| format!("{name} does not fit: cpio files end at 4 GiB"))?;
        let name_size = u32::try_from(name.len() + 1).context("a file name is too long")?;
        self.inode += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // Owner root and time 0: the same input gives the same bytes.
        let (uid, gid, mtime, check) = (0, 0, 0, 0);
        let (inode, (major, minor)) = (self.inode, device);
        let header: String =
            [inode, mode, uid, gid, links, mtime, size, 0, 0, major, minor, name_size, check]
                .map(|field| format!("{field:08X}"))
                .concat();
        let header = format!("070701{header}");
        let mut write = |bytes: &[u8]| self.out.write_all(bytes).context("cannot write the archive");
        write(header.as_bytes())?;
        write(name.as_bytes())?;
        write(&[0])?;
        write(padding(header.len() + name.len() + 1))?;
        write(data)?;
        write(padding(data.len()))
    }
}

fn padding(length: usize) -> &'static [u8] {
    &[0; 3][..length.wrapping_neg() % 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field `index` of the header at `offset`.
    fn field(archive: &[u8], offset: usize, index: usize) -> u32 {
        let start = offset + 6 + index * 8;
        let text = std::str::from_utf8(&archive[start..start + 8]).unwrap();
        u32::from_str_radix(text, 16).unwrap()
    }

    #[test]
    fn header_and_padding_of_a_file() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/init", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(&bytes[..6], b"070701");
        let fields: Vec<u32> = (0..13).map(|index| field(&bytes, 0, index)).collect();
        assert_eq!(fields, [1, 0o100_755, 0, 0, 1, 0, 5, 0, 0, 0, 0, 5, 0]);
        // 110 bytes of header, 5 of name, 1 of padding; 5 of data, 3 of padding.
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(&bytes[124 + 110..124 + 121], b"TRAILER!!!\0");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn parents_come_first_and_once() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/one", 0o644, b"").unwrap();
        archive.file("/a/b/two", 0o644, b"").unwrap();
        let bytes = archive.finish().unwrap();
        let text = String::from_utf8_lossy(&bytes).replace('\0', "|");
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("a|") < at("a/b|") && at("a/b|") < at("a/b/one|"));
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(field(&bytes, 0, 1), 0o040_755);
        assert_eq!(field(&bytes, 0, 4), 2);
    }

    #[test]
    fn devices_have_numbers() {
        let mut archive = Archive::new(Vec::new());
        archive.device("console", 0o600, 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(field(&bytes, 0, 1), 0o020_600);
        assert_eq!((field(&bytes, 0, 9), field(&bytes, 0, 10)), (5, 1));
    }

    #[test]
    fn links_hold_where_they_lead() {
        let mut archive = Archive::new(Vec::new());
        archive.directory_as("tmp", 0o1777).unwrap();
        archive.link("bin", "usr/bin").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(field(&bytes, 0, 1), 0o041_777);
        // 110 bytes of header, 4 of the name, 2 of padding.
        assert_eq!((field(&bytes, 116, 1), field(&bytes, 116, 6)), (0o120_777, 7));
        assert_eq!(&bytes[232..240], b"usr/bin\0");
    }

    #[test]
    fn pads_to_four() {
        let lengths: Vec<usize> = (0..5).map(|length| padding(length).len()).collect();
        assert_eq!(lengths, [0, 3, 2, 1, 0]);
    }
}
