//! Query strings. What is not understood is refused: a filter with a typing error must not show everything.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::failure::Failure;

/// A path that takes `netns=N` or nothing.
pub(super) struct Netns(pub(super) Option<u64>);

/// A page that takes `netns=N`, `format=markdown` or `format=json`, or nothing.
#[derive(Debug, PartialEq)]
pub(super) struct Explain {
    pub(super) netns: Option<u64>,
    /// `None` leaves it to the header.
    pub(super) markdown: Option<bool>,
}

type Pairs = Vec<(String, String)>;

impl<S: Sync> FromRequestParts<S> for Netns {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        netns(&pairs(parts)?).map(Self).map_err(Failure::bad_request)
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

fn pairs(parts: &Parts) -> Result<Pairs, Failure> {
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
}
