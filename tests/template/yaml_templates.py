"""Reads templates as CloudFormation does, short forms of intrinsics included."""

import json
import pathlib
import re
import subprocess
import sys

from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(file):
    return yaml_parse(pathlib.Path(file).read_text(encoding="utf-8"))


def expanded(file=ROOT / "template.yaml"):
    """A SAM template as the transform leaves it."""
    command = [sys.executable, str(ROOT / "infra/expand.py"), str(file)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def nested():
    """The templates of infra/, those that template.yaml nests and the pipeline's."""
    return sorted((ROOT / "infra").glob("*.yaml"))


def reference(value):
    """The name in a `Ref`, else nothing."""
    return value.get("Ref") if isinstance(value, dict) else None


def metrics():
    """What each stage publishes: names without what follows a dot."""
    published = {}
    # A table for each stage, which a test holds against the code.
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        table = section.split("\n## ")[0]
        published[section.split("\n")[0]] = set(re.findall(r"^\| `([A-Za-z]+)[^`]*` \|", table, re.MULTILINE))
    return published


def alarm_names():
    """The names of all alarms without the stack's: those of a function once for each."""
    names = set()
    stages = [
        resource["Properties"]["Parameters"]["Stage"]
        for resource in load(ROOT / "template.yaml")["Resources"].values()
        if resource.get("Properties", {}).get("Location") == "infra/function-alarms.yaml"
    ]
    for file in nested():
        for resource in load(file)["Resources"].values():
            if resource["Type"].startswith("AWS::CloudWatch::") and resource["Type"].endswith("Alarm"):
                name = resource["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${Stack}-")
                names.update(name.replace("${Stage}", stage) for stage in (stages if "${Stage}" in name else [""]))
    return names


class Checks:
    """Counts, and says what failed."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def __call__(self, what, holds):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED  {what}")

    def report(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
