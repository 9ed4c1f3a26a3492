//! Other programs: how they are found, run and reported when they fail.
//!
//! Whatever fails is named by a line that can be pasted into a shell.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Directories of the system that users, cron and some CI runners leave out of their `PATH`.
const SYSTEM: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Runs a program to its end with our own input and output.
pub fn run(command: &mut Command) -> Result<()> {
    let line = show(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`: is it installed?"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Runs a program to its end with our own input and output, and looks at each line of its standard output. Whether it
/// succeeded.
pub fn watch(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    let line = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`: is it installed?"))?;
    if let Some(out) = child.stdout.take() {
        for text in BufReader::new(out).split(b'\n') {
            let text = text.with_context(|| format!("cannot read what `{line}` says"))?;
            let text = String::from_utf8_lossy(&text);
            println!("{text}");
            each(&text);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    Ok(status.success())
}

/// Runs a program to its end; its standard output, or an error with the last lines it wrote to standard error.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = show(command);
    // Messages are quoted in our errors, so keep them in one language.
    let result = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`: is it installed?"))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let last = lines[lines.len().saturating_sub(6)..].join("; ");
        bail!("`{line}` failed: {}: {last}", result.status);
    }
    Ok(result.stdout)
}

/// Like `output`, as text.
pub fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

/// Tries up to three times: mirrors and networks have bad moments.
pub fn retry<T>(what: &str, mut action: impl FnMut() -> Result<T>) -> Result<T> {
    for pause in [3, 10] {
        match action() {
            Ok(value) => return Ok(value),
            Err(error) => {
                println!("{what}: {error:#}; again in {pause} s");
                sleep(Duration::from_secs(pause));
            }
        }
    }
    action().with_context(|| format!("{what} failed three times"))
}

/// Where a program is, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

pub fn is_root() -> bool {
    // The kernel gives each process's directory to its effective user.
    fs::metadata("/proc/self").is_ok_and(|directory| directory.uid() == 0)
}

/// A program with the rights of root, by sudo if need be.
pub fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = find("sudo").with_context(|| {
        format!("{} needs root, and there is no sudo: run this as root", program.as_ref().display())
    })?;
    let mut command = Command::new(sudo);
    command.arg("--").arg(program);
    Ok(command)
}

/// Reads a file, naming it when that fails.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The command as one would type it. Cargo is called by its full path, which nobody types.
pub fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let variables = command
        .get_envs()
        .filter(|(name, _)| *name != "PATH")
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quote(value?))));
    variables.chain([quote(program)]).chain(command.get_args().map(quote)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_to_type() {
        let mut command = Command::new("/some/where/cargo");
        command.args(["doc", "--cfg=a=\"b\"", "it's"]).env("RUSTFLAGS", "-D warnings").env("PATH", "/bin");
        assert_eq!(show(&command), r#"RUSTFLAGS='-D warnings' cargo doc '--cfg=a="b"' 'it'\''s'"#);
    }

    #[test]
    fn failures_carry_the_command_and_its_words() {
        let error = text(Command::new("sh").args(["-c", "echo oh no >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'echo oh no >&2; exit 3'` failed: exit status: 3: oh no");
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(error.to_string().starts_with("cannot start `no-such-program`"));
    }
}
