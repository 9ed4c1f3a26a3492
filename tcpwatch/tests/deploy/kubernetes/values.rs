//! The table of values in `docs/kubernetes.md`, made from the comments in `values.yaml`.

use std::fmt::Write as _;

use serde_json::Value;

use super::CHART;
use crate::committed;

/// A value with its default, which are on one line or are a list or a map below it.
struct Row {
    name: String,
    about: String,
}

/// Every value that has a comment right above it, in the order of the file. A comment holds for all that follow in the
/// same section up to the next.
fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut section = String::new();
    let mut about = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("# ") {
            assert!(about.is_empty() || indent > 0 || rows.is_empty(), "{comment}: a comment is one line");
            comment.clone_into(&mut about);
        } else if line.is_empty() {
            if rows.is_empty() {
                about.clear();
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with('-')) {
            match indent {
                0 if value.is_empty() && about.is_empty() => name.clone_into(&mut section),
                0 => {
                    section.clear();
                    rows.push(Row { name: name.into(), about: std::mem::take(&mut about) });
                }
                2 if !section.is_empty() => {
                    let about = std::mem::take(&mut about);
                    rows.push(Row { name: format!("{section}.{name}"), about });
                }
                _ => {}
            }
        }
    }
    rows
}

fn table(text: &str) -> String {
    let values: Value = serde_saphyr::from_str(text).expect("values.yaml is YAML");
    let mut table = String::from("| value | default | meaning |\n|---|---|---|\n");
    for Row { name, about } in rows(text) {
        let value = name.split('.').fold(&values, |value, part| &value[part]);
        let shown = match value {
            Value::String(text) if text.is_empty() => "`\"\"`".into(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let _ = writeln!(table, "| `{name}` | {shown} | {about} |");
    }
    table
}

#[test]
fn the_table_of_values_is_what_the_chart_has() {
    let text = committed::read(&format!("{CHART}/values.yaml"));
    committed::expect_part("docs/kubernetes.md", "values", &table(&text));
}

#[test]
fn every_value_is_in_the_table() {
    let text = committed::read(&format!("{CHART}/values.yaml"));
    let values: Value = serde_saphyr::from_str(&text).expect("values.yaml is YAML");
    let rows = rows(&text);
    for (name, value) in values.as_object().expect("a map") {
        let has = |name: &str| rows.iter().any(|row| row.name == name);
        let inside = value.as_object().filter(|_| !has(name));
        let parts =
            inside.map_or_else(Vec::new, |map| map.keys().map(|key| format!("{name}.{key}")).collect());
        assert!(
            has(name) || (!parts.is_empty() && parts.iter().all(|part| has(part))),
            "{name} is not in the table"
        );
    }
}
