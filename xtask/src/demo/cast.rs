//! The programs that take part: started with a log of their own, waited for until they are ready, and ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::http;
use crate::process;

/// How long one may take until it answers, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Lines of a log that go into an error.
const TAIL: usize = 10;

/// A program that runs until this value is dropped.
pub struct Part {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Part {
    /// Starts it; what it says goes to `NAME.log` in the folder. It ends with us, whatever becomes of us.
    pub fn start(folder: &Path, name: &str, program: &Path, args: &[&str]) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(args);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", process::show(&command)))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers well to this request.
    pub fn ready(self, port: u16, path: &str) -> Result<Self> {
        self.until(|_| http::get(port, path).map(drop))
    }

    /// Waits until there is this in its log.
    pub fn says(self, words: &str) -> Result<Self> {
        self.until(|part| {
            let text = fs::read_to_string(&part.log).unwrap_or_default();
            ensure!(text.contains(words), "it does not say {words:?}");
            Ok(())
        })
    }

    fn until(mut self, is_ready: impl Fn(&Self) -> Result<()>) -> Result<Self> {
        let begin = Instant::now();
        loop {
            let ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
            if let Some(status) = ended {
                bail!("{} ended: {status}. {}", self.name, self.said());
            }
            match is_ready(&self) {
                Ok(()) => return Ok(self),
                Err(error) if begin.elapsed() > PATIENCE => {
                    return Err(error.context(format!("{} does not get ready. {}", self.name, self.said())));
                }
                Err(_) => sleep(POLL),
            }
        }
    }

    /// The end of its log, as one sentence.
    pub fn said(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(TAIL)..].join("\n  ");
        format!("The end of {}:\n  {last}", self.log.display())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // One that has ended already needs nothing.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(POLL);
        }
        println!("{} does not end, so it is killed", self.name);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
