//! What a dashboard asks of Prometheus, taken from its file, and whether there is an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use serde_json::Value;

use crate::daemon::process::PATIENCE;

const PROMETHEUS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9090);
/// A minute is shown, at the interval of the scrapes.
const RANGE: &str = "60s";
/// By Grafana's rule: four scrapes at least.
const RATE: &str = "4s";

/// A question, with the variables in it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Dashboard, panel and query.
    pub(super) place: String,
    kind: Kind,
    expr: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Now,
    OverTime,
    /// The values of a label.
    Values(String),
}

/// Everything that the dashboards of the folder ask for.
pub(super) fn all(folder: &Path) -> Vec<Asked> {
    let mut asked = Vec::new();
    for file in fs::read_dir(folder).expect("list the dashboards") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = fs::read_to_string(&path).expect("a dashboard");
            let board: Value = serde_json::from_str(&text).expect("JSON");
            of_board(path.file_stem().and_then(|name| name.to_str()).expect("a name"), &board, &mut asked);
        }
    }
    asked
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn of_board(name: &str, board: &Value, asked: &mut Vec<Asked>) {
    for variable in list(&board["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
        let query = text(&variable["query"]["query"]);
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) =
            inside.and_then(|inside| inside.rsplit_once(", ")).expect("a series and a label");
        let place = format!("{name}: variable {label}");
        asked.push(Asked { place, kind: Kind::Values(label.to_owned()), expr: series.to_owned() });
    }
    for annotation in
        list(&board["annotations"]["list"]).iter().filter(|one| one["target"]["expr"].is_string())
    {
        let place = format!("{name}: annotation {}", text(&annotation["name"]));
        asked.push(Asked { place, kind: Kind::OverTime, expr: text(&annotation["target"]["expr"]) });
    }
    // Those in closed rows, too.
    let outer = list(&board["panels"]);
    for panel in outer.iter().chain(outer.iter().flat_map(|row| list(&row["panels"]))) {
        for target in list(&panel["targets"]) {
            let place = format!("{name}: {} {}", text(&panel["title"]), text(&target["refId"]));
            let kind = if target["instant"] == true { Kind::Now } else { Kind::OverTime };
            asked.push(Asked { place, kind, expr: text(&target["expr"]) });
        }
    }
}

/// A chosen value as Grafana puts it into a regular expression in a text.
fn escaped(value: &str) -> String {
    let special = |c: char| r"$^*{}[]+?.()|\'".contains(c);
    value
        .chars()
        .flat_map(|c| special(c).then_some("\\\\").into_iter().flat_map(str::chars).chain([c]))
        .collect()
}

impl Asked {
    /// Asks with these variables chosen, and all of the others. Whether there is anything to show.
    pub(super) fn has_answer(&self, chosen: &BTreeMap<&str, String>, now: f64) -> bool {
        let expr = self.filled(chosen);
        let data = match &self.kind {
            Kind::Now => get("/api/v1/query", &[("query", &expr), ("time", &now.to_string())]),
            Kind::OverTime => {
                let (start, end) = ((now.floor() - 60.0).to_string(), now.floor().to_string());
                get(
                    "/api/v1/query_range",
                    &[("query", &expr), ("start", &start), ("end", &end), ("step", "1")],
                )
            }
            Kind::Values(label) => get(&format!("/api/v1/label/{label}/values"), &[("match[]", &expr)]),
        };
        match &self.kind {
            Kind::Values(_) => !list(&data).is_empty(),
            Kind::Now => list(&data["result"]).iter().any(|series| is_number(&series["value"])),
            Kind::OverTime => {
                list(&data["result"]).iter().flat_map(|series| list(&series["values"])).any(is_number)
            }
        }
    }

    fn filled(&self, chosen: &BTreeMap<&str, String>) -> String {
        let mut expr = self.expr.replace("$__rate_interval", RATE).replace("$__range", RANGE);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        while let Some(at) = expr.find('$') {
            let end = expr[at + 1..].find(|c| !is_part(c)).map_or(expr.len(), |length| at + 1 + length);
            let value =
                chosen.get(&expr[at + 1..end]).map_or_else(|| ".*".to_owned(), |value| escaped(value));
            expr.replace_range(at..end, &value);
        }
        expr
    }
}

/// Whether a sample is worth a dot: a quantile of nothing is none.
fn is_number(sample: &Value) -> bool {
    sample[1].as_str().is_some_and(|value| value != "NaN")
}

/// What Prometheus answers; to a wrong question with a panic.
fn get(path: &str, parameters: &[(&str, &str)]) -> Value {
    let one = |(name, value): &(&str, &str)| format!("{}={}", percent(name), percent(value));
    let query = parameters.iter().map(one).collect::<Vec<_>>().join("&");
    let mut stream = TcpStream::connect(PROMETHEUS).expect("connect to Prometheus");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    write!(stream, "GET {path}?{query} HTTP/1.0\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
    answer["data"].clone()
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Asks again and again, until all have answered or `patience` is over. Who did not.
pub(super) fn unanswered(
    asked: &[Asked],
    chosen: &BTreeMap<&str, String>,
    patience: std::time::Duration,
) -> BTreeSet<String> {
    let begin = std::time::Instant::now();
    let mut left: Vec<&Asked> = asked.iter().collect();
    loop {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        left.retain(|one| !one.has_answer(chosen, now.as_secs_f64()));
        if left.is_empty() || begin.elapsed() > patience {
            return left.into_iter().map(|one| one.place.clone()).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

#[test]
fn values_are_put_in_as_grafana_does() {
    let asked = Asked {
        place: String::new(),
        kind: Kind::Now,
        expr: "rate(a{instance=~\"$instance\",pod=~\"$pod\"}[$__rate_interval])".into(),
    };
    let chosen = BTreeMap::from([("instance", "10.0.0.1:80".to_owned())]);
    assert_eq!(asked.filled(&chosen), r#"rate(a{instance=~"10\\.0\\.0\\.1:80",pod=~".*"}[4s])"#);
}
