//! `/api/v1/explain`: what everything means, with this host's values, as JSON or as Markdown.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::Failure;
use super::query::Explain;
use crate::explain;
use crate::view::explain::{self as view, NoTopic, Topics};

const MARKDOWN: &str = "text/markdown";

/// `/api/v1/explain`: all topics.
pub(super) async fn topics() -> Json<Topics> {
    Json(view::topics())
}

/// `/api/v1/explain/{topic}`
pub(super) async fn topic(
    State(app): State<App>,
    Path(topic): Path<String>,
    query: Explain,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = match explain::find(&topic) {
        Ok(found) => found,
        Err(unknown) => return Ok((StatusCode::NOT_FOUND, Json(NoTopic::from(unknown))).into_response()),
    };
    // The explanation itself needs no figures.
    let facts = match app.feed.fresh().await {
        Some(report) => {
            super::api::check(&report, query.netns, |report, netns| report.states.contains_key(&netns))?;
            let findings = app.feed.findings().map(|findings| findings.open.clone());
            view::facts(&report, query.netns, findings, (app.own.settings)())
        }
        None => explain::Facts { settings: (app.own.settings)(), ..explain::Facts::default() },
    };
    let page = view::page(found, &facts);
    // The same address has two forms.
    let vary = (VARY, "accept");
    Ok(if query.markdown.unwrap_or_else(|| wants_markdown(&headers)) {
        ([(CONTENT_TYPE, "text/markdown; charset=utf-8"), vary], page.markdown).into_response()
    } else {
        ([vary], Json(page)).into_response()
    })
}

/// Markdown is named, and before JSON.
fn wants_markdown(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(',')).map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    kinds.find(|kind| kind == MARKDOWN || kind == "application/json").is_some_and(|kind| kind == MARKDOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_for_those_who_ask_for_it() {
        for (accept, expected) in [
            ("*/*", false),
            ("text/markdown", true),
            ("text/html, Text/Markdown;q=0.9, */*", true),
            ("application/json, text/markdown", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header"))]);
            assert_eq!(wants_markdown(&headers), expected, "{accept}");
        }
        assert!(!wants_markdown(&HeaderMap::new()));
    }
}
