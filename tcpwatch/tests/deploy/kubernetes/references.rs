//! Objects that name each other.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::objects::{self, Rendered, list, name, text};

fn labels(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no set of labels"))
}

fn select(selector: &Value, labelled: &Value) -> bool {
    let known = labels(labelled);
    !labels(selector).is_empty() && labels(selector).iter().all(|(key, value)| known.get(key) == Some(value))
}

#[test]
fn selectors_find_what_they_are_for() {
    for rendered in objects::all() {
        let file = rendered.file;
        let pod = &rendered.pod()["metadata"]["labels"];
        assert!(select(&rendered.object("DaemonSet")["spec"]["selector"]["matchLabels"], pod), "{file}");
        let Some(service) = rendered.find("Service") else {
            assert!(file.contains("minimal"), "{file}");
            continue;
        };
        assert!(select(&service["spec"]["selector"], pod), "{file}");
        assert_eq!(service["spec"]["clusterIP"], "None", "{file}");
        if let Some(monitor) = rendered.find("ServiceMonitor") {
            let spec = &monitor["spec"];
            assert!(select(&spec["selector"]["matchLabels"], &service["metadata"]["labels"]), "{file}");
            assert_eq!(
                spec["namespaceSelector"]["matchNames"][0], service["metadata"]["namespace"],
                "{file}"
            );
            assert_eq!(spec["endpoints"][0]["port"], service["spec"]["ports"][0]["name"], "{file}");
            assert_eq!(spec["endpoints"][0]["honorLabels"], true, "{file}");
            let job = &spec["endpoints"][0]["relabelings"][0];
            assert_eq!(
                (&job["targetLabel"], &job["replacement"]),
                (&"job".into(), &"tcpwatch".into()),
                "{file}"
            );
        }
    }
}

#[test]
fn the_account_that_runs_it_has_the_role() {
    for rendered in objects::all() {
        let Some(binding) = rendered.find("ClusterRoleBinding") else { continue };
        assert_eq!(name(rendered.object("ClusterRole")), text(&binding["roleRef"]["name"]));
        let subject = &binding["subjects"][0];
        assert_eq!(list(&binding["subjects"]).len(), 1);
        assert_eq!(subject["name"], rendered.pod()["spec"]["serviceAccountName"]);
        assert_eq!(subject["namespace"], rendered.object("DaemonSet")["metadata"]["namespace"]);
        assert_eq!(subject["name"], rendered.object("ServiceAccount")["metadata"]["name"]);
    }
}

#[test]
fn every_mount_has_its_volume_and_every_volume_is_mounted() {
    for rendered in objects::all() {
        let names = |value: &Value| -> BTreeSet<String> {
            list(value).iter().map(|each| text(&each["name"]).to_owned()).collect()
        };
        let volumes = &rendered.pod()["spec"]["volumes"];
        assert_eq!(names(volumes), names(&rendered.container()["volumeMounts"]), "{}", rendered.file);
        let config = list(volumes).iter().find(|volume| volume["name"] == "config").expect("a volume");
        assert_eq!(text(&config["configMap"]["name"]), name(rendered.object("ConfigMap")));
        for mount in list(&rendered.container()["volumeMounts"]) {
            // What is mounted by that never changes.
            assert!(mount["subPath"].is_null(), "{}", rendered.file);
        }
    }
}

#[test]
fn probes_ask_the_port_that_it_listens_on() {
    for rendered in objects::all() {
        let Rendered { file, .. } = rendered;
        let container = rendered.container();
        let port = &container["ports"][0];
        let (_, listened) =
            rendered.arg("--listen").and_then(|address| address.rsplit_once(':')).expect("a port");
        assert_eq!(port["containerPort"].to_string(), listened, "{file}");
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{file}");
            assert_eq!(container[probe]["httpGet"]["port"], port["name"], "{file}");
        }
    }
}
