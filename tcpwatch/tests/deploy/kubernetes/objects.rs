//! The objects in rendered manifests.

use serde_json::Value;

use crate::committed;

/// What a set of values is rendered to.
pub struct Rendered {
    pub file: &'static str,
    objects: Vec<Value>,
}

/// Every rendered file that is committed: the manifests first, then the examples.
pub fn all() -> Vec<Rendered> {
    [
        "deploy/kubernetes/tcpwatch.yaml",
        "deploy/helm/examples/minimal.rendered.yaml",
        "deploy/helm/examples/everything.rendered.yaml",
        "deploy/helm/examples/no-sys-admin.rendered.yaml",
    ]
    .map(Rendered::read)
    .into()
}

impl Rendered {
    fn read(file: &'static str) -> Self {
        let objects = serde_saphyr::from_multiple(&committed::read(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file, objects }
    }

    /// The object of a kind, of which there is at most one.
    pub fn find(&self, kind: &str) -> Option<&Value> {
        let mut found = self.objects.iter().filter(|object| object["kind"] == kind);
        let object = found.next();
        assert!(found.next().is_none(), "{}: more than one {kind}", self.file);
        object
    }

    pub fn object(&self, kind: &str) -> &Value {
        self.find(kind).unwrap_or_else(|| panic!("{} has no {kind}", self.file))
    }

    /// The pods that the `DaemonSet` makes.
    pub fn pod(&self) -> &Value {
        &self.object("DaemonSet")["spec"]["template"]
    }

    /// The only container of a pod.
    pub fn container(&self) -> &Value {
        let containers = list(&self.pod()["spec"]["containers"]);
        assert_eq!(containers.len(), 1, "{}", self.file);
        assert!(self.pod()["spec"]["initContainers"].is_null(), "{}", self.file);
        &containers[0]
    }

    pub fn args(&self) -> Vec<&str> {
        texts(&self.container()["args"])
    }

    /// The value of `--name=VALUE`.
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.args().into_iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn config(&self) -> &str {
        text(&self.object("ConfigMap")["data"]["tcpwatch.toml"])
    }
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| panic!("{value} is no list"), Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

pub fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}
