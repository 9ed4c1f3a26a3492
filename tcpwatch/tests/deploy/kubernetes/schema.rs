//! `values.schema.json`, by which Helm refuses values that mean nothing. That of the configuration is made from its options.

use serde_json::{Map, Value, json};
use tcpwatch::config;

use super::CHART;
use crate::committed;

/// A map with these keys and no others.
fn only(properties: impl Into<Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties.into()})
}

fn text(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn one_of(values: &[&str]) -> Value {
    json!({ "enum": values })
}

fn number(low: u64, high: u64) -> Value {
    json!({"type": "integer", "minimum": low, "maximum": high})
}

/// The daemon's default where there is none.
fn or_null(mut value: Value) -> Value {
    value["type"] = json!([value["type"], "null"]);
    value
}

fn schema() -> Value {
    let any = || json!({"type": "string"});
    let some = || json!({"type": "string", "minLength": 1});
    let flag = || json!({"type": "boolean"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let map = || json!({"type": "object"});
    let maps = || json!({"type": "array", "items": {"type": "object"}});
    let probe = || {
        let names = [
            "initialDelaySeconds",
            "periodSeconds",
            "timeoutSeconds",
            "failureThreshold",
            "successThreshold",
        ];
        only(names.into_iter().map(|name| (name.to_owned(), number(0, 3_600))).collect::<Map<_, _>>())
    };
    let duration = || text("^([0-9]+(ms|s|m|h))*$");
    // As Kubernetes has them: without CAP_, and not all.
    let capability =
        json!({"type": "string", "pattern": "^[A-Z][A-Z_]+$", "not": {"pattern": "^(CAP_.*|ALL)$"}});
    let mut schema = only(json!({
        "image": only(json!({
            "repository": some(), "tag": any(), "digest": text("^(sha256:[0-9a-f]{64})?$"),
            "pullPolicy": one_of(&["Always", "IfNotPresent", "Never"]),
        })),
        "imagePullSecrets": {"type": "array", "items": only(json!({"name": some()}))},
        "nameOverride": any(), "fullnameOverride": any(), "commonLabels": texts(),
        "listen": only(json!({"address": some(), "port": number(1, 65_535)})),
        "hostNetwork": flag(), "hostPID": flag(), "runAsUser": number(0, 65_535),
        "capabilities": {"type": "array", "uniqueItems": true, "items": capability},
        "seccompProfile": only(json!({
            "type": one_of(&["RuntimeDefault", "Localhost", "Unconfined"]), "localhostProfile": any(),
        })),
        "appArmorProfile": one_of(&["", "RuntimeDefault", "Unconfined"]),
        "seLinuxOptions": only(json!({"user": any(), "role": any(), "type": any(), "level": any()})),
        "resources": map(), "priorityClassName": any(), "nodeSelector": texts(), "tolerations": maps(),
        "affinity": map(),
        "updateStrategy": only(json!({
            "type": one_of(&["RollingUpdate", "OnDelete"]),
            "maxUnavailable": {"anyOf": [number(1, 100_000), text("^[1-9][0-9]?[0-9]?%$")]},
        })),
        "terminationGracePeriodSeconds": number(3, 3_600),
        "tick": text("^([0-9.]+(ms|s)|1m)$"),
        "maxTracked": or_null(number(64, 1 << 26)), "maxNamespaces": or_null(number(1, 65_000)),
        "maxListeners": or_null(number(16, 1 << 20)), "maxRemotes": or_null(number(256, 1 << 20)),
        "logLevel": some(),
        "config": options(),
        "record": only(json!({
            "enabled": flag(), "maxSize": {"anyOf": [number(1 << 20, 1 << 50), text("^[0-9]+ ?[KMG]iB$")]},
            "volume": one_of(&["emptyDir", "hostPath"]), "sizeLimit": text("^([0-9]+([KMGT]i?)?)?$"),
            "hostPath": text("^/"),
        })),
        "kubernetes": only(json!({"enabled": flag()})),
        "rbac": only(json!({"create": flag()})),
        "serviceAccount": only(json!({"create": flag(), "name": any(), "annotations": texts()})),
        "service": only(json!({"enabled": flag(), "annotations": texts()})),
        "serviceMonitor": only(json!({
            "enabled": flag(), "labels": texts(), "interval": duration(), "scrapeTimeout": duration(),
        })),
        "prometheusRule": only(json!({"enabled": flag(), "labels": texts()})),
        "livenessProbe": or_null(probe()), "readinessProbe": or_null(probe()),
        "podLabels": texts(), "podAnnotations": texts(),
        "extraArgs": {"type": "array", "items": text("^-")}, "extraEnv": maps(),
        // What Helm gives to every chart.
        "global": map(),
    }));
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Values of the chart tcpwatch. Made by the test target `deploy`.".into();
    schema
}

/// All sections of the configuration file but [record], which has values of its own, as `--print-config` prints them.
fn options() -> Value {
    let printed = config::print(&config::Values::default());
    let mut sections = Map::new();
    let (mut section, mut about) = ("", "");
    for line in printed.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            about = comment;
        } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            let mut known = only(json!({}));
            known["description"] = about.into();
            sections.insert(section.into(), known);
        } else if let Some((name, default)) = line.split_once(" = ") {
            sections[section]["properties"][name] = option(about, default);
        }
    }
    sections.remove("record").expect("there is a section [record]");
    only(sections)
}

/// `about` ends in `: from LOW to HIGH, by default DEFAULT`.
fn option(about: &str, default: &str) -> Value {
    let range = about.rsplit_once(": ").expect("bounds").1;
    let bounds = range.strip_prefix("from ").and_then(|range| range.split_once(", by default "));
    let bounds = bounds.and_then(|(bounds, _)| bounds.split_once(" to "));
    let mut option = match bounds {
        // Only the daemon knows how long 90m is.
        _ if default.starts_with('"') => {
            json!({"anyOf": [{"type": "number", "minimum": 0}, text("^[0-9]+([.][0-9]+)? ?(ms|s|m|h)$")]})
        }
        Some((low, high)) => {
            let bound = |text: &str| serde_json::from_str::<Value>(text).expect("a number");
            let kind = if default.contains('.') { "number" } else { "integer" };
            json!({"type": kind, "minimum": bound(low), "maximum": bound(high)})
        }
        None => json!({"type": "boolean"}),
    };
    option["description"] = about.into();
    option
}

#[test]
fn the_schema_is_what_the_code_says() {
    let text = serde_json::to_string_pretty(&schema()).expect("it is JSON");
    committed::expect(&format!("{CHART}/values.schema.json"), &(text + "\n"));
}

#[test]
fn every_option_has_its_type() {
    let options = options();
    let sections = options["properties"].as_object().expect("sections");
    let count: usize =
        sections.values().map(|section| section["properties"].as_object().map_or(0, Map::len)).sum();
    let printed = config::print(&config::Values::default());
    // What the chart has values of its own for is no option there.
    let mut sections_printed = printed.split("\n[").filter(|section| !section.starts_with("record]"));
    let lines = sections_printed.by_ref().flat_map(str::lines).filter(|line| line.contains(" = ")).count();
    assert!(count > 40, "{count}");
    assert_eq!(count, lines);
    let of = |section: &str, name: &str| sections[section]["properties"][name]["type"].clone();
    assert_eq!(of("close_wait_buildup", "min_count"), "integer");
    assert_eq!(of("close_wait_buildup", "files_share"), "number");
    assert_eq!(of("close_wait_buildup", "age"), Value::Null, "one of two");
}
