//! Writes archives in the format of POSIX tar, of files that all belong to root and were made when time began, in 1970.
//!
//! Written by hand, the same files are the same bytes with every version of every tool, and nobody has to be root.

const BLOCK: usize = 512;

/// An archive that grows in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds a file; its name, relative to the root, has at most 100 bytes.
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) {
        let begin = self.bytes.len();
        self.field(name, 100);
        self.field(&format!("{mode:07o}"), 8);
        self.field("0000000", 8);
        self.field("0000000", 8);
        self.field(&format!("{:011o}", data.len()), 12);
        self.field("00000000000", 12);
        let sum_at = self.bytes.len();
        // The sum is made as if there were spaces in its place.
        self.field("        ", 8);
        self.field("0", 1);
        self.field("", 100);
        self.field("ustar\x0000", 8);
        // Names of users, devices and a longer path, of which there are none.
        self.field("", 247);
        let sum: u32 = self.bytes[begin..].iter().copied().map(u32::from).sum();
        self.bytes[sum_at..sum_at + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(data);
        self.pad();
    }

    /// Two empty blocks end an archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn field(&mut self, text: &str, size: usize) {
        debug_assert!(text.len() <= size, "{text}");
        self.bytes.extend(text.bytes().chain(std::iter::repeat(0)).take(size));
    }

    fn pad(&mut self) {
        let size = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(size, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::process;

    #[test]
    fn tar_reads_it() {
        let mut archive = Archive::default();
        archive.file("a/first", 0o755, b"one\n");
        archive.file("second", 0o644, &[b'2'; 700]);
        let bytes = archive.finish();
        assert_eq!(bytes.len(), 512 * (2 + 3 + 2));

        let folder = std::env::temp_dir().join(format!("tcpwatch-tar-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("make a folder");
        let file = folder.join("a.tar");
        fs::write(&file, &bytes).expect("write");
        let tar = |args: &[&str]| {
            let mut tar = Command::new("tar");
            tar.args(args).arg(&file).env("TZ", "UTC");
            process::text(&mut tar).expect("tar reads it")
        };
        let listing = tar(&["--numeric-owner", "-tvf"]);
        let lines: Vec<String> =
            listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            ["-rwxr-xr-x 0/0 4 1970-01-01 00:00 a/first", "-rw-r--r-- 0/0 700 1970-01-01 00:00 second"]
        );
        assert_eq!(tar(&["--to-stdout", "--wildcards", "a/*", "-xf"]), "one\n");
        fs::remove_dir_all(&folder).expect("remove the folder");
    }
}
