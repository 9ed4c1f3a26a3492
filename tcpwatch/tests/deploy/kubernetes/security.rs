//! What the pods may do, and no more.

use serde_json::{Value, json};

use super::objects::{self, list, text, texts};

/// docs/kubernetes.md says what each is for.
const CAPABILITIES: [&str; 3] = ["DAC_READ_SEARCH", "SYS_ADMIN", "SYS_PTRACE"];
/// Without the mightiest.
const NO_SYS_ADMIN: [&str; 4] = ["BPF", "DAC_READ_SEARCH", "PERFMON", "SYS_PTRACE"];

#[test]
fn no_container_is_privileged() {
    for rendered in objects::all() {
        let file = rendered.file;
        let context = &rendered.container()["securityContext"];
        for (name, value) in
            [("privileged", false), ("allowPrivilegeEscalation", false), ("readOnlyRootFilesystem", true)]
        {
            assert_eq!(context[name], Value::from(value), "{file}: {name}");
        }
        assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{file}");
        let expected: &[_] = if file.contains("no-sys-admin") { &NO_SYS_ADMIN } else { &CAPABILITIES };
        assert_eq!(texts(&context["capabilities"]["add"]), expected, "{file}");
        let of_pod = &rendered.pod()["spec"]["securityContext"];
        assert_ne!(of_pod["seccompProfile"]["type"], "Unconfined", "{file}");
        assert!(of_pod["seccompProfile"]["type"].is_string(), "{file}: the default is none");
    }
}

#[test]
fn nothing_of_the_node_is_mounted_but_recordings_that_are_to_stay() {
    for rendered in objects::all() {
        let of_node: Vec<&str> = list(&rendered.pod()["spec"]["volumes"])
            .iter()
            .filter(|volume| !volume["hostPath"].is_null())
            .map(|volume| text(&volume["hostPath"]["path"]))
            .collect();
        let expected: &[&str] =
            if rendered.file.contains("everything") { &["/var/lib/tcpwatch"] } else { &[] };
        assert_eq!(of_node, expected, "{}", rendered.file);
        assert!(rendered.pod()["spec"]["hostIPC"].is_null(), "{}", rendered.file);
    }
}

#[test]
fn the_role_lets_see_pods_and_change_nothing() {
    for rendered in objects::all() {
        let file = rendered.file;
        let wants = rendered.pod()["spec"]["automountServiceAccountToken"] == true;
        assert_eq!(wants, !file.contains("minimal"), "{file}: whether it has a token");
        assert_eq!(rendered.find("ClusterRole").is_some(), wants, "{file}");
        assert_eq!(rendered.find("ClusterRoleBinding").is_some(), wants, "{file}");
        assert!(rendered.find("Role").is_none() && rendered.find("RoleBinding").is_none(), "{file}");
        if let Some(role) = rendered.find("ClusterRole") {
            let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]);
            assert_eq!(role["rules"], rules, "{file}");
        }
        if let Some(account) = rendered.find("ServiceAccount") {
            assert_eq!(
                account["automountServiceAccountToken"], false,
                "{file}: not for every pod that names it"
            );
        }
    }
}

#[test]
fn memory_is_limited_and_processor_time_is_not() {
    for rendered in objects::all().iter().filter(|rendered| !rendered.file.contains("everything")) {
        let resources = &rendered.container()["resources"];
        assert!(resources["limits"]["memory"].is_string() && resources["requests"]["memory"].is_string());
        assert!(resources["limits"]["cpu"].is_null(), "{}: samples must not wait", rendered.file);
    }
}
