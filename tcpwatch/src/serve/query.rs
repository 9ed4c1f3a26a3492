//! Query strings. What is not understood is refused: a filter with a typing error must not show everything.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::failure::Failure;
use crate::filter::{Filter, Word};
use crate::question::{MOST, Question};

/// Sockets shown where no limit is given.
const USUAL: usize = 1000;

/// A path that takes `netns=N` or nothing.
pub(super) struct Netns(pub(super) Option<u64>);

pub(super) type Pairs = Vec<(String, String)>;

/// A page that takes `netns=N`, `format=markdown` or `format=json`, or nothing.
#[derive(Debug, PartialEq)]
pub(super) struct Explain {
    pub(super) netns: Option<u64>,
    /// `None` leaves it to the header.
    pub(super) markdown: Option<bool>,
}

impl<S: Sync> FromRequestParts<S> for Netns {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        netns(&pairs(parts)?).map(Self).map_err(Failure::bad_request)
    }
}

/// Which sockets are wanted, and the namespace if it is given apart.
#[derive(Debug, PartialEq)]
pub(super) struct Sockets {
    pub(super) question: Question,
    pub(super) netns: Option<u64>,
}

impl<S: Sync> FromRequestParts<S> for Sockets {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        sockets(&pairs(parts)?).map_err(Failure::bad_request)
    }
}

impl<S: Sync> FromRequestParts<S> for Explain {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        explain(pairs(parts)?).map_err(Failure::bad_request)
    }
}

fn explain(pairs: Pairs) -> Result<Explain, String> {
    let (formats, rest): (Pairs, Pairs) = pairs.into_iter().partition(|(name, _)| name == "format");
    let markdown = match formats.as_slice() {
        [] => None,
        [(_, format)] if format == "markdown" => Some(true),
        [(_, format)] if format == "json" => Some(false),
        [(_, format)] => return Err(format!("format={format:?} is neither markdown nor json")),
        many => return Err(format!("format is given {} times", many.len())),
    };
    Ok(Explain { netns: netns(&rest)?, markdown })
}

pub(super) fn pairs(parts: &Parts) -> Result<Pairs, Failure> {
    Query::try_from_uri(&parts.uri)
        .map(|Query(pairs)| pairs)
        .map_err(|error| Failure::bad_request(error.body_text()))
}

fn netns(pairs: &[(String, String)]) -> Result<Option<u64>, String> {
    const ACCEPTED: &str =
        "this path takes netns=N, the inode number of a network namespace, or no parameters";
    if let Some((name, _)) = pairs.iter().find(|(name, _)| name != "netns") {
        return Err(format!("unknown parameter {name:?}: {ACCEPTED}"));
    }
    match pairs {
        [] => Ok(None),
        [(_, number)] => {
            number.parse().map(Some).map_err(|_| format!("netns={number:?} is no number: {ACCEPTED}"))
        }
        _ => Err(format!("netns is given {} times: {ACCEPTED}", pairs.len())),
    }
}

fn sockets(pairs: &[(String, String)]) -> Result<Sockets, String> {
    let accepted = || {
        let words = Word::ALL.map(Word::name).join(", ");
        format!("this path takes filter=…, limit=N and the words of a filter ({words}), each once")
    };
    if pairs.is_empty() {
        return Err(format!(
            "a filter or a limit is needed, as there can be a million sockets: {}",
            accepted()
        ));
    }
    let mut filter = Filter::everything();
    let mut limit = None;
    let mut netns = None;
    for (place, (name, value)) in pairs.iter().enumerate() {
        if pairs[..place].iter().any(|(before, _)| before == name) {
            return Err(format!("{name} is given twice (write {name}=a,b for either): {}", accepted()));
        }
        let part = match (name.as_str(), Word::parse(name)) {
            ("limit", _) => {
                let number = value.parse().ok().filter(|number| *number <= MOST);
                limit = Some(number.ok_or_else(|| format!("limit={value:?} is no number up to {MOST}"))?);
                continue;
            }
            ("filter", _) => Filter::parse(value),
            (_, Some(word)) => Filter::test(word, value),
            (_, None) => return Err(format!("unknown parameter {name:?}: {}", accepted())),
        };
        filter = filter.and(part.map_err(|error| format!("in {name}: {error}"))?);
        if name == "netns" {
            // A list or range needs no check that each of them exists.
            netns = value.parse().ok();
        }
    }
    Ok(Sockets { question: Question { filter, limit: limit.unwrap_or(USUAL) }, netns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> Result<Option<u64>, String> {
        let pairs: Pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        netns(&pairs)
    }

    #[test]
    fn one_namespace_or_all() {
        assert_eq!(parsed(&[]), Ok(None));
        assert_eq!(parsed(&[("netns", "4026531840")]), Ok(Some(4_026_531_840)));
    }

    #[test]
    fn pages_have_a_format() {
        let parsed = |pairs: &[(&str, &str)]| {
            explain(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        assert_eq!(parsed(&[]), Ok(Explain { netns: None, markdown: None }));
        assert_eq!(
            parsed(&[("format", "markdown"), ("netns", "7")]),
            Ok(Explain { netns: Some(7), markdown: Some(true) })
        );
        for pairs in [&[("format", "html")][..], &[("format", "json"), ("format", "json")], &[("x", "1")]] {
            assert!(parsed(pairs).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (pairs, problem) in [
            (&[("netns", "abc")][..], "netns=\"abc\" is no number: "),
            (&[("netns", "-1")], "netns=\"-1\" is no number: "),
            (&[("netns", "")], "netns=\"\" is no number: "),
            (&[("netns", "1"), ("netns", "2")], "netns is given 2 times: "),
            (&[("netns", "1"), ("nets", "2")], "unknown parameter \"nets\": "),
        ] {
            let error = parsed(pairs).expect_err(problem);
            assert!(error.starts_with(problem) && error.contains("takes netns=N"), "{error}");
        }
    }

    fn asked(pairs: &[(&str, &str)]) -> Result<Sockets, String> {
        let pairs: Pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        sockets(&pairs)
    }

    #[test]
    fn parameters_and_filters_add_up() {
        let filter = |text| Filter::parse(text).expect("a filter");
        let wanted = asked(&[("state", "close-wait"), ("older_than", "5m"), ("limit", "7")]).expect("fine");
        let question = Question { filter: filter("state=close_wait older-than=5m"), limit: 7 };
        assert_eq!(wanted, Sockets { question, netns: None });
        let wanted = asked(&[("netns", "7"), ("filter", "port 80 or port 81")]).expect("fine");
        let question = Question { filter: filter("netns=7 (port 80 or port 81)"), limit: USUAL };
        assert_eq!(wanted, Sockets { question, netns: Some(7) });
        let everything = Question { filter: Filter::everything(), limit: MOST };
        assert_eq!(asked(&[("limit", "10000")]), Ok(Sockets { question: everything, netns: None }));
    }

    #[test]
    fn questions_that_make_no_sense_are_refused() {
        for (pairs, problem) in [
            (&[][..], "a filter or a limit is needed"),
            (&[("limit", "10001")], "limit=\"10001\" is no number up to 10000"),
            (&[("limit", "-1")], "limit=\"-1\" is no number"),
            (&[("stat", "close")], "unknown parameter \"stat\""),
            (&[("port", "1"), ("port", "2")], "port is given twice (write port=a,b for either)"),
            (&[("state", "opened")], "in state: bad filter, column 1: there is no state \"opened\""),
            (&[("filter", "")], "in filter: bad filter, column 1: a test is missing"),
            (&[("netns", "abc")], "in netns: bad filter, column 1: \"abc\" is no number"),
        ] {
            let error = asked(pairs).expect_err(problem);
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
