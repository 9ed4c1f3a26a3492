//! Which network namespace is meant: by number, by name, or one's own.

use anyhow::{Result, bail};

use crate::host::netns::NetnsHandle;

/// As it is written on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted(pub(super) Option<String>);

/// What that means here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    All,
    Number(u64),
}

impl Chosen {
    pub(super) fn has(self, handle: &NetnsHandle) -> bool {
        match self {
            Self::All => true,
            Self::Number(inode) => handle.inode == inode,
        }
    }

    pub(super) const fn number(self) -> Option<u64> {
        match self {
            Self::All => None,
            Self::Number(inode) => Some(inode),
        }
    }
}

impl Wanted {
    /// The namespace that is meant, which must be among these.
    pub(super) fn choose(&self, all: &[NetnsHandle]) -> Result<Chosen> {
        let Some(text) = &self.0 else { return Ok(Chosen::All) };
        let is_it = |handle: &&NetnsHandle| match text.as_str() {
            "own" | "self" => handle.is_own,
            text => handle.name.as_deref() == Some(text) || text.parse() == Ok(handle.inode),
        };
        match all.iter().find(is_it) {
            Some(handle) => Ok(Chosen::Number(handle.inode)),
            None => bail!("no network namespace {text} was found; `lsns -t net` and `ip netns` list them"),
        }
    }

    /// For a daemon that is elsewhere: only a number means anything there.
    pub(super) fn as_number(&self) -> Result<Chosen> {
        match &self.0 {
            None => Ok(Chosen::All),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Chosen::Number(number)),
                Err(_) => bail!("the daemon knows network namespaces by inode number only, not {text:?}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_a_number_and_a_name() {
        let handle = |inode, name: Option<&str>, is_own| NetnsHandle {
            inode,
            path: "/proc/self/ns/net".into(),
            name: name.map(str::to_owned),
            is_own,
        };
        let all = [handle(1, None, true), handle(2, Some("web"), false)];
        let chosen = |text: &str| Wanted(Some(text.into())).choose(&all).ok().and_then(Chosen::number);
        assert_eq!(Wanted(None).choose(&all).ok(), Some(Chosen::All));
        assert_eq!(
            (chosen("own"), chosen("web"), chosen("2"), chosen("3")),
            (Some(1), Some(2), Some(2), None)
        );
        assert!(Wanted(Some("web".into())).as_number().is_err());
        assert_eq!(Wanted(Some("2".into())).as_number().ok(), Some(Chosen::Number(2)));
    }
}
