//! Tables: queries put side by side by their labels, with links from what a row names.

use serde_json::{Value, json};

use super::board::uid;
use super::json::thresholds;
use super::panel::{Limits, Panel};
use crate::alerts::link;
use crate::promql;

/// Labels of a row, with their titles are their names, so that one can filter by what one reads.
pub fn labels(panel: &Panel) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for query in &panel.queries {
        for label in promql::named(&query.expr).listed {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
    }
    labels
}

/// What the value of a query is called before it gets its title.
fn value(panel: &Panel, index: usize) -> String {
    if panel.queries.len() == 1 {
        return "Value".into();
    }
    let letter = ('A'..='Z').nth(index).expect("not so many queries");
    format!("Value #{letter}")
}

pub fn transformations(panel: &Panel) -> Value {
    let mut order = serde_json::Map::new();
    let mut titles = serde_json::Map::new();
    for (place, label) in labels(panel).into_iter().enumerate() {
        order.insert(label, json!(place));
    }
    let before = order.len();
    for (index, column) in panel.columns.iter().enumerate() {
        order.insert(value(panel, index), json!(before + index));
        titles.insert(value(panel, index), json!(column.title));
    }
    json!([
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"excludeByName": {"Time": true}, "indexByName": order, "renameByName": titles},
        },
    ])
}

pub fn overrides(panel: &Panel) -> Value {
    let mut made: Vec<Value> = labels(panel).iter().filter_map(|label| of_label(label)).collect();
    for column in &panel.columns {
        let mut properties = vec![json!({"id": "unit", "value": column.unit.id()})];
        if let Some(bad) = column.bad {
            properties
                .push(json!({"id": "thresholds", "value": thresholds(Some(Limits { odd: None, bad }))}));
            properties.push(json!({"id": "color", "value": {"mode": "thresholds"}}));
            properties.push(json!({"id": "custom.cellOptions", "value": {"type": "color-text"}}));
        }
        made.push(with(column.title, &properties));
    }
    made.into()
}

fn with(name: &str, properties: &[Value]) -> Value {
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// Where one goes from a label.
fn of_label(label: &str) -> Option<Value> {
    let links = match label {
        "kind" => vec![json!({
            "title": "Runbook of ${__value.raw}", "targetBlank": true,
            "url": link("docs/runbooks/${__value.raw}.md"),
        })],
        "instance" => vec![to("The host", "node", &["instance"])],
        "listen_addr" => vec![to("The listener", "listeners", &["instance", "listen_addr"])],
        "process" | "pod" | "namespace" => vec![to("What else it has", "owners", &["instance", label])],
        "severity" => {
            let colour =
                |colour: &str, index: u8, text: &str| json!({"color": colour, "index": index, "text": text});
            let words = json!({
                "critical": colour("red", 0, "critical"), "warning": colour("orange", 1, "warning"),
            });
            return Some(with(
                label,
                &[
                    json!({"id": "mappings", "value": [{"type": "value", "options": words}]}),
                    json!({"id": "custom.cellOptions", "value": {"type": "color-background"}}),
                ],
            ));
        }
        _ => return None,
    };
    Some(with(label, &[json!({"id": "links", "value": links})]))
}

/// A link to another dashboard, with the row's own values.
fn to(title: &str, board: &str, labels: &[&str]) -> Value {
    let value = |label: &&str| format!("&var-{label}=${{__data.fields.{label}}}");
    let values = labels.iter().map(value).collect::<Vec<_>>().concat();
    json!({
        "title": title, "targetBlank": false,
        "url": format!("/d/{}?${{__url_time_range}}&var-datasource=${{datasource}}{values}", uid(board)),
    })
}
