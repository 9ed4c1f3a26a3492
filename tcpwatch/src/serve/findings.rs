//! `/api/v1/findings`: what is wrong, and what was lately.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;

use super::App;
use super::failure::Failure;
use super::query::pairs;
use crate::finding::Kind;
use crate::view::findings::{self, Choice, List};

/// `/api/v1/findings`
pub(super) async fn list(State(app): State<App>, Asked(choice): Asked) -> Result<Json<List>, Failure> {
    let report = app.feed.fresh().await.ok_or_else(Failure::no_report)?;
    super::api::check(&report, choice.netns, |report, netns| report.states.contains_key(&netns))?;
    let found = app.feed.findings().ok_or_else(Failure::no_report)?;
    Ok(Json(findings::findings(&found, report.sample.at, choice)))
}

/// The parameters of this path.
pub(super) struct Asked(Choice);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        choice(&pairs(parts)?).map(Self).map_err(Failure::bad_request)
    }
}

fn choice(pairs: &[(String, String)]) -> Result<Choice, String> {
    const ACCEPTED: &str = "this path takes netns=N, kind=KIND and closed=TIME (those closed so long ago or less, such as 10m or 1h)";
    let mut choice = Choice::default();
    for (place, (name, value)) in pairs.iter().enumerate() {
        if pairs[..place].iter().any(|(other, _)| other == name) {
            return Err(format!("{name} is given more than once: {ACCEPTED}"));
        }
        match name.as_str() {
            "netns" => {
                let number =
                    value.parse().map_err(|_| format!("netns={value:?} is no number: {ACCEPTED}"))?;
                choice.netns = Some(number);
            }
            "kind" => choice.kind = Some(kind(value)?),
            "closed" => {
                let time = time(value).ok_or_else(|| format!("closed={value:?} is no time: {ACCEPTED}"))?;
                choice.closed = Some(time);
            }
            _ => return Err(format!("unknown parameter {name:?}: {ACCEPTED}")),
        }
    }
    Ok(choice)
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let all = Kind::ALL.map(Kind::name).join(", ");
        format!("there is no kind of finding {name:?}; there is {all}")
    })
}

/// `90`, `90s`, `10m` or `1h`.
fn time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Choice, String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        choice(&pairs)
    }

    #[test]
    fn parameters_are_read() {
        assert_eq!(asked(&[]), Ok(Choice::default()));
        let all = asked(&[("kind", "syn_flood"), ("closed", "1h"), ("netns", "7")]).expect("right");
        let hour = Duration::from_hours(1);
        assert_eq!(all, Choice { netns: Some(7), kind: Some(Kind::SynFlood), closed: Some(hour) });
        for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("0", 0)] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (pairs, problem) in [
            (&[("netns", "x")][..], "netns=\"x\" is no number: "),
            (&[("closed", "1d")], "closed=\"1d\" is no time: "),
            (&[("closed", "")], "closed=\"\" is no time: "),
            (&[("closed", "-1h")], "closed=\"-1h\" is no time: "),
            (&[("closed", "99999999999999999999h")], "closed="),
            (&[("closed", "9999999999999999999h")], "closed="),
            (&[("kind", "flood")], "there is no kind of finding \"flood\"; there is close_wait_buildup, "),
            (&[("state", "listen")], "unknown parameter \"state\": "),
            (&[("netns", "1"), ("netns", "1")], "netns is given more than once: "),
        ] {
            let error = asked(pairs).expect_err(problem);
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
