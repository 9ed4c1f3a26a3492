//! The one language in which people say which sockets they want: the API's `filter=` and the command line share it.
//!
//! `state=close_wait port 8080 and not process=nginx*`: tests, side by side or joined by `and`, `or`, `not` and
//! parentheses. Everything here is pure: a filter is parsed once and held against the facts of each socket. A test on
//! a fact that is not known fails, so `process=nginx` never shows a socket of an unknown owner, and `not process=nginx`
//! does.

mod error;
mod facts;
mod lex;
mod number;
mod parse;
mod test;
#[cfg(test)]
mod tests;
mod value;
mod word;

use std::fmt;

pub use error::FilterError;
pub use facts::SocketFacts;
use test::Test;
pub use word::Word;

/// Which sockets are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Expression);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    /// All of them hold; also if there are none.
    All(Vec<Expression>),
    /// One of them holds.
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Test(Test),
}

impl Filter {
    /// Every socket.
    pub fn everything() -> Self {
        Self(Expression::All(Vec::new()))
    }

    /// What `text` says; the error points at what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::expression(text).map(Self)
    }

    /// A single test, as in `?state=close_wait,last_ack`: a word, and its values.
    pub fn test(word: Word, values: &str) -> Result<Self, FilterError> {
        parse::values(word, values).map(|test| Self(Expression::Test(test)))
    }

    /// What both let through.
    pub fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Expression::All(none), other) | (other, Expression::All(none)) if none.is_empty() => Self(other),
            (one, other) => Self(Expression::All(vec![one, other])),
        }
    }

    pub fn matches(&self, socket: &SocketFacts<'_>) -> bool {
        self.0.matches(socket)
    }

    /// Whether the owner's name, number, container or pod decides, so that it has to be looked for before.
    pub fn needs_owner(&self) -> bool {
        self.0.any(&|test| {
            matches!(test, Test::Process(_) | Test::Pid(_) | Test::Container(_)) || test.is_of_cluster()
        })
    }

    /// Whether a test with this word decides.
    pub fn asks_for(&self, word: Word) -> bool {
        self.0.any(&|test| test.word() == word)
    }

    /// Whether sockets of the network namespace can match at all.
    pub fn admits_netns(&self, netns: u64) -> bool {
        self.0.admits_netns(netns)
    }
}

impl Expression {
    fn matches(&self, socket: &SocketFacts<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.matches(socket)),
            Self::Any(any) => any.iter().any(|one| one.matches(socket)),
            Self::Not(inner) => !inner.matches(socket),
            Self::Test(test) => test.matches(socket),
        }
    }

    fn any(&self, wanted: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.any(wanted)),
            Self::Not(inner) => inner.any(wanted),
            Self::Test(test) => wanted(test),
        }
    }

    /// False only if no socket of the namespace can match: what is behind `not` is not looked into.
    fn admits_netns(&self, netns: u64) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.admits_netns(netns)),
            Self::Any(any) => any.iter().any(|one| one.admits_netns(netns)),
            Self::Test(Test::Netns(numbers)) => numbers.contain(netns),
            Self::Not(_) | Self::Test(_) => true,
        }
    }

    fn is_group(&self) -> bool {
        matches!(self, Self::All(_) | Self::Any(_))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &Self| {
            if part.is_group() { write!(f, "({part})") } else { part.fmt(f) }
        };
        let (parts, between) = match self {
            Self::Test(test) => return test.fmt(f),
            Self::Not(inner) => {
                f.write_str("not ")?;
                return part(f, inner);
            }
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (place, one) in parts.iter().enumerate() {
            if place > 0 {
                f.write_str(between)?;
            }
            part(f, one)?;
        }
        Ok(())
    }
}
