"""Calls Helm, the real one, as the library in the PyPI package helm-sdkpy. It has no `helm template`, so charts are
rendered by installing them to an API server that is made here, says yes to everything and keeps nothing.

    helm.py LIBRARY lint CHART
    helm.py LIBRARY render CHART NAMESPACE KUBERNETES DIRECTORY VALUES...
        writes DIRECTORY/NAME.yaml for each file VALUES of that name, or DIRECTORY/NAME.error
    helm.py LIBRARY install|upgrade CHART NAMESPACE KUBECONFIG VALUES
    helm.py LIBRARY uninstall NAMESPACE KUBECONFIG
"""

import ctypes
import http.server
import json
import pathlib
import sys
import tempfile
import threading

import yaml

RELEASE = "tcpwatch"
# What the chart has objects of: group and version, with kind, plural name and whether it is in a namespace.
KINDS = {
    "v1": [("ConfigMap", "configmaps", True), ("Secret", "secrets", True), ("Service", "services", True),
           ("ServiceAccount", "serviceaccounts", True), ("Namespace", "namespaces", False)],
    "apps/v1": [("DaemonSet", "daemonsets", True)],
    "rbac.authorization.k8s.io/v1": [("ClusterRole", "clusterroles", False),
                                     ("ClusterRoleBinding", "clusterrolebindings", False)],
    "monitoring.coreos.com/v1": [("ServiceMonitor", "servicemonitors", True),
                                 ("PrometheusRule", "prometheusrules", True)],
}


class Api(http.server.BaseHTTPRequestHandler):
    """Knows the kinds above, finds no object, and takes every one."""

    protocol_version = "HTTP/1.1"
    kubernetes = "1.30"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        self.send(code, json.dumps(body).encode(), "application/json")

    def send(self, code, body, kind):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        groups = [group for group in KINDS if "/" in group]
        if path == "version":
            major, minor = self.kubernetes.split(".")
            self.answer(200, {"major": major, "minor": minor, "gitVersion": f"v{self.kubernetes}.0"})
        elif path == "api":
            self.answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif path == "apis":
            versions = [{"groupVersion": group, "version": "v1"} for group in groups]
            listed = [{"name": each["groupVersion"].split("/")[0], "versions": [each], "preferredVersion": each}
                      for each in versions]
            self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        elif path == "api/v1" or path.removeprefix("apis/") in groups:
            group = path.removeprefix("apis/").removeprefix("api/")
            verbs = ["create", "delete", "get", "list", "patch", "update"]
            listed = [{"kind": kind, "name": name, "singularName": kind.lower(), "namespaced": inside, "verbs": verbs}
                      for kind, name, inside in KINDS[group]]
            self.answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group,
                              "resources": listed})
        else:
            self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                              "message": f"{path} is not found", "code": 404})

    def do_POST(self):
        # As it came: a release is stored as protobuf, all else is JSON.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send(201, body, self.headers.get("Content-Type", "application/json"))

    do_PUT = do_POST


class Helm:
    def __init__(self, library):
        self.library = ctypes.CDLL(library)
        self.library.helm_sdkpy_last_error.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        """What the library answers; arguments and answer are text."""
        answer = ctypes.c_char_p()
        self.check(name, *map(native, arguments), ctypes.byref(answer))
        return answer.value.decode()

    def check(self, name, *arguments):
        if getattr(self.library, f"helm_sdkpy_{name}")(*arguments) != 0:
            raise RuntimeError(self.library.helm_sdkpy_last_error().decode().strip())

    def configuration(self, namespace, kubeconfig):
        handle = ctypes.c_uint64()
        options = b"{}"
        self.check("config_create", namespace.encode(), kubeconfig.encode(), None, options, ctypes.byref(handle))
        return handle

    def install(self, verb, handle, chart, values, **options):
        options = {"disable_openapi_validation": True, "server_side_apply": "false", "wait": False,
                   "timeout_seconds": 60, **options}
        return self.call(verb, handle, RELEASE, chart, json.dumps(values), "", json.dumps(options))


def native(argument):
    if isinstance(argument, int):
        return ctypes.c_int(argument)
    return argument.encode() if isinstance(argument, str) else argument


def read(values):
    return yaml.safe_load(pathlib.Path(values).read_text()) or {}


def kubeconfig(address):
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    })


def lint(helm, chart):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        config.write(kubeconfig("http://127.0.0.1:9"))
        config.flush()
        handle = helm.configuration("default", config.name)
        found = json.loads(helm.call("lint", handle, chart))
    # 1 is information, such as that there is no icon. The texts do not get through the library.
    grave = [message for message in found["Messages"] or [] if message["Severity"] > 1]
    for message in grave:
        print(f"{chart}: helm lint has severity {message['Severity']} in {message['Path']}", file=sys.stderr)
    return 1 if grave or found["TotalChartsLinted"] != 1 else 0


def render(helm, chart, namespace, kubernetes, directory, *files):
    Api.kubernetes = kubernetes
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        config.write(kubeconfig(f"http://127.0.0.1:{server.server_port}"))
        config.flush()
        handle = helm.configuration(namespace, config.name)
        for file in files:
            out = pathlib.Path(directory, pathlib.Path(file).stem)
            try:
                release = json.loads(helm.install("install", handle, chart, read(file)))
                out.with_suffix(".yaml").write_text(release["manifest"])
                out.with_suffix(".notes").write_text(release["info"].get("notes", ""))
            except RuntimeError as error:
                out.with_suffix(".error").write_text(f"{error}\n")
    return 0


def deploy(helm, verb, chart, namespace, config, values):
    handle = helm.configuration(namespace, config)
    release = json.loads(helm.install(verb, handle, chart, read(values), create_namespace=True))
    print(f"helm {verb}: {release['name']}, revision {release['version']}, {release['info']['status']}")
    return 0


def uninstall(helm, namespace, config):
    handle = helm.configuration(namespace, config)
    helm.call("uninstall", handle, RELEASE, 0, 60)
    print(f"helm uninstall: {RELEASE}")
    return 0


def main():
    library, verb, *arguments = sys.argv[1:]
    helm = Helm(library)
    if verb in ("install", "upgrade"):
        return deploy(helm, verb, *arguments)
    return {"lint": lint, "render": render, "uninstall": uninstall}[verb](helm, *arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as failure:
        sys.exit(f"helm: {failure}")
