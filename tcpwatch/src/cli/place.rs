//! Where a process runs, in a few words: its pod, its container or its unit.

use serde_json::Value;

/// Digits of a container's id that people see.
const SHORT_ID: usize = 12;

/// `pod shop/web-7d9f-abcde`, or `docker 0123456789ab`, of an owner as the API has it.
pub(super) fn container(owner: &Value) -> Option<String> {
    if let Some(pod) = owner["pod_name"].as_str() {
        return Some(match owner["namespace"].as_str() {
            Some(namespace) => format!("pod {namespace}/{pod}"),
            None => format!("pod {pod}"),
        });
    }
    let id = owner["container"].as_str()?;
    let runtime = owner["runtime"].as_str().unwrap_or("container");
    Some(format!("{runtime} {}", id.get(..SHORT_ID).unwrap_or(id)))
}

/// The same in a word.
pub(super) fn word(owner: &Value) -> Option<String> {
    container(owner)?.split_once(' ').map(|(_, word)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pod_comes_before_the_container() {
        let id = "0123456789abcdef";
        let pod = json!({"container": id, "runtime": "containerd", "pod": "u", "pod_name": "web-1", "namespace": "shop"});
        assert_eq!((container(&pod), word(&pod)), (Some("pod shop/web-1".into()), Some("shop/web-1".into())));
        let unnamed = json!({"container": id, "runtime": "containerd", "pod": "u"});
        assert_eq!(container(&unnamed).as_deref(), Some("containerd 0123456789ab"));
        assert_eq!(word(&json!({"container": id})).as_deref(), Some("0123456789ab"));
        assert_eq!(word(&json!({"container": null})), None);
    }
}
