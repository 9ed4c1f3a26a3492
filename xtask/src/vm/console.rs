//! Understands what the guest says on its serial console.
//!
//! `/init` prints `GUEST-START` as soon as it runs and `GUEST-EXIT <code>` at
//! the end. The console is read while it grows, in pieces that end anywhere.

/// What has been seen so far.
#[derive(Default)]
pub struct Console {
    line: Vec<u8>,
    /// `/init` runs: the kernel has come up.
    pub started: bool,
    /// Exit status of the command.
    pub exit_code: Option<i32>,
    /// Last kernel panic message.
    pub panic: Option<String>,
    /// Modules that `/init` found loaded.
    pub modules: Option<String>,
}

impl Console {
    /// Takes the next piece of output.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(&line).trim());
            } else {
                self.line.push(*byte);
            }
        }
    }

    fn take(&mut self, line: &str) {
        if line.starts_with("GUEST-START ") {
            self.started = true;
        } else if let Some(names) = line.strip_prefix("GUEST-MODULES") {
            self.modules = Some(names.trim().to_owned());
        } else if let Some(code) = line.strip_prefix("GUEST-EXIT ") {
            // Only a whole line with a number counts, so that a script that is
            // printed to the console is not taken for its end.
            self.exit_code = code.parse().ok().or(self.exit_code);
        } else if let Some(at) = line.find("Kernel panic - not syncing") {
            self.panic = Some(line[at..].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Console {
        let mut console = Console::default();
        // Byte by byte: the pieces must not matter.
        text.bytes().for_each(|byte| console.feed(&[byte]));
        console
    }

    #[test]
    fn reads_a_whole_run() {
        let console =
            after("\x1b[0mboot\r\nGUEST-START 6.1.0\r\nGUEST-MODULES tun veth\r\nhi\r\n\r\nGUEST-EXIT 7\r\n");
        assert!(console.started);
        assert_eq!(console.modules.as_deref(), Some("tun veth"));
        assert_eq!(console.exit_code, Some(7));
        assert_eq!(console.panic, None);
    }

    #[test]
    fn only_the_marker_line_counts() {
        for text in [
            "",
            "GUEST-EXIT 7",
            "GUEST-EXIT \n",
            "GUEST-EXIT $code\n",
            "echo GUEST-EXIT 7\n",
            "GUEST-EXIT 7 or so\n",
        ] {
            assert_eq!(after(text).exit_code, None, "{text:?}");
        }
        assert_eq!(after("GUEST-EXIT 7\nGUEST-EXIT $code\n").exit_code, Some(7));
    }

    #[test]
    fn notices_panics() {
        let console = after("[    0.3] Kernel panic - not syncing: Fatal exception\n");
        assert!(!console.started);
        let panic = console.panic.unwrap();
        assert_eq!(panic, "Kernel panic - not syncing: Fatal exception");
    }
}
