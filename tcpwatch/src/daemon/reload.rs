//! When the configuration file is read again: at SIGHUP, and if it was asked for, when it has changed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::notify::Manager;
use crate::causes::causes;
use crate::config::{Config, Version};

/// How often the file is looked at; that is one system call.
const LOOK: Duration = Duration::from_secs(2);

/// From now on until the runtime ends, inside of which this has to be called.
pub(super) fn follow(config: &Arc<Config>, manager: &Arc<Manager>, is_watched: bool) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let (told, teller) = (Arc::clone(config), Arc::clone(manager));
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload(&told, &teller, "SIGHUP");
        }
    });
    if is_watched {
        let (config, manager) = (Arc::clone(config), Arc::clone(manager));
        tokio::spawn(async move {
            let mut look = interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut seen = Seen::default();
            loop {
                look.tick().await;
                if seen.is_new(&config) {
                    reload(&config, &manager, "it has changed");
                }
            }
        });
    }
    Ok(())
}

/// How the file was at the last look.
#[derive(Debug, Default)]
struct Seen(Option<Version>);

impl Seen {
    /// Whether the file is another than was last read, and was the same at the last look: one that is being written in
    /// place is empty or half there for a moment, and half a file may be a good one.
    fn is_new(&mut self, config: &Config) -> bool {
        let version = config.version();
        let before = std::mem::replace(&mut self.0, version);
        !config.knows(version) && before == version
    }
}

/// What a new configuration changes takes effect at the next tick.
fn reload(config: &Config, manager: &Manager, why: &str) {
    manager.reloading();
    match (config.path(), config.reload()) {
        (None, _) => {
            log::info!("{why}: there is no configuration file to read again; give one with --config");
        }
        (Some(path), Ok(())) => log::info!("{why}: the configuration {} was read again", path.display()),
        (Some(_), Err(error)) => {
            log::error!("{why}: {}; the old configuration stays", causes(&error));
        }
    }
    manager.reloaded();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A directory as a kubelet mounts a `ConfigMap`: the file is a link through a link, which is what changes.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(hint: &str, text: &str) -> Self {
            let root = std::env::temp_dir().join(format!("tcpwatch-reload-{hint}-{}", std::process::id()));
            fs::create_dir(&root).expect("made");
            let mounted = Self(root);
            mounted.update("..1", text);
            symlink("..data/tcpwatch.toml", mounted.file()).expect("linked");
            mounted
        }

        fn file(&self) -> PathBuf {
            self.0.join("tcpwatch.toml")
        }

        /// Renames a new link over `..data`, so that there always is one.
        fn update(&self, version: &str, text: &str) {
            fs::create_dir(self.0.join(version)).expect("made");
            fs::write(self.0.join(version).join("tcpwatch.toml"), text).expect("written");
            symlink(version, self.0.join("..data_tmp")).expect("linked");
            fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("renamed");
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn count(config: &Config) -> u64 {
        config.values().thresholds.close_wait_buildup.min_count
    }

    #[test]
    fn another_target_of_the_link_is_a_new_file_and_is_read_once() {
        let mounted = Mounted::new("link", "close_wait_buildup.min_count = 3\n");
        let config = Config::load(Some(&mounted.file())).expect("good");
        let mut seen = Seen::default();
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false; 2]);
        // Of the same length, and maybe of the same time.
        mounted.update("..2", "close_wait_buildup.min_count = 4\n");
        assert!(!seen.is_new(&config), "it may be being written");
        assert!(seen.is_new(&config));
        reload(&config, &Manager::default(), "test");
        assert_eq!(count(&config), 4);
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false; 2]);
    }

    #[test]
    fn a_bad_file_is_told_once_and_a_good_one_taken_again() {
        let mounted = Mounted::new("bad", "close_wait_buildup.min_count = 3\n");
        let config = Config::load(Some(&mounted.file())).expect("good");
        let mut seen = Seen::default();
        mounted.update("..2", "close_wait_buildup.min_count = 0\n");
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false, true]);
        reload(&config, &Manager::default(), "test");
        assert_eq!(count(&config), 3);
        let condition = config.condition().expect("there is a file");
        assert!(condition.error.as_deref().is_some_and(|error| error.contains("min_count is 0")));
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false; 2], "told once");
        fs::remove_file(mounted.file()).expect("removed");
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false, true], "gone is a change, too");
        reload(&config, &Manager::default(), "test");
        let condition = config.condition().expect("there was a file");
        assert!(condition.error.is_some_and(|error| error.starts_with("cannot read")));
        symlink("..data/tcpwatch.toml", mounted.file()).expect("linked");
        mounted.update("..3", "close_wait_buildup.min_count = 5\n");
        assert_eq!([seen.is_new(&config), seen.is_new(&config)], [false, true]);
        reload(&config, &Manager::default(), "test");
        assert_eq!((count(&config), config.condition().and_then(|condition| condition.error)), (5, None));
    }

    #[test]
    fn what_is_written_in_place_is_read_when_it_is_whole() {
        let mounted = Mounted::new("place", "close_wait_buildup.min_count = 3\n");
        let config = Config::load(Some(&mounted.file())).expect("good");
        let mut seen = Seen::default();
        let mut news = Vec::new();
        // Empty, which is a good file, then growing.
        for text in ["", "close_wait_buildup.min_count = 1", "close_wait_buildup.min_count = 17"] {
            fs::write(mounted.file(), text).expect("written");
            news.push(seen.is_new(&config));
        }
        assert_eq!(news, [false; 3]);
        assert!(seen.is_new(&config));
        reload(&config, &Manager::default(), "test");
        assert_eq!(count(&config), 17);
    }
}
