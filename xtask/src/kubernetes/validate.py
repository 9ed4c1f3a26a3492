"""Holds rendered manifests against schemas, and says what they are made of.

    validate.py VERSIONS RULES FILES...

VERSIONS are those of Kubernetes, with commas between. The rules of each PrometheusRule are written to a file in the
directory RULES, for promtool. Objects of Kubernetes are held against its own schemas, where an unknown field is an
error. Those of the Prometheus operator are in no package; what the chart uses of them is described here.
"""

import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}


def only(required=(), **properties):
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


SPECS = {
    # As of version 0.84 of the operator: all of these are in v1 since 2018.
    "ServiceMonitor": only(
        ["selector", "endpoints"],
        namespaceSelector=only(["matchNames"], matchNames={"type": "array", "items": TEXT, "minItems": 1}),
        selector=only(["matchLabels"], matchLabels={"type": "object", "additionalProperties": TEXT}),
        endpoints={"type": "array", "minItems": 1, "items": only(
            ["port"], port=TEXT, path={"type": "string", "pattern": "^/"}, honorLabels={"type": "boolean"},
            interval=DURATION, scrapeTimeout=DURATION,
            relabelings={"type": "array", "items": only(
                sourceLabels={"type": "array", "items": {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}},
                targetLabel=TEXT, replacement=TEXT)})},
    ),
    # What is in a group is for promtool.
    "PrometheusRule": only(["groups"], groups={"type": "array", "minItems": 1, "items": only(
        ["name", "rules"], name=TEXT, interval=DURATION, rules={"type": "array", "minItems": 1})}),
}


def documents(file):
    return [each for each in yaml.safe_load_all(pathlib.Path(file).read_text()) if each]


def faults(document, versions):
    kind = document.get("kind")
    if document["apiVersion"] == "monitoring.coreos.com/v1":
        for error in jsonschema.Draft7Validator(SPECS[kind]).iter_errors(document["spec"]):
            yield f"spec.{'.'.join(map(str, error.path))}: {error.message}"
        # Its metadata is that of every object.
        document = {**document, "apiVersion": "v1", "kind": "ConfigMap"}
        del document["spec"]
    for version in versions:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"


def main():
    versions, rules, *files = sys.argv[1:]
    versions = versions.split(",")
    failed = count = 0
    for file in files:
        for document in documents(file):
            name = f"{file}: {document.get('kind')} {document['metadata']['name']}"
            for fault in faults(document, versions):
                print(f"{name}: {fault}", file=sys.stderr)
                failed += 1
            count += 1
            if document["kind"] == "PrometheusRule":
                groups = yaml.safe_dump(document["spec"])
                pathlib.Path(rules, f"{pathlib.Path(file).stem}.rules.yml").write_text(groups)
    print(f"{count} objects hold to the schemas of Kubernetes {versions[0]} to {versions[-1]}" if not failed else
          f"{failed} faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
