"""Policy as code: every finding of checkov is mended, or stands in
exceptions.yaml with its reason; and nothing stands there without a finding.
Usage: check.py CHECKOV NAME=FILE…, where findings are told by NAME."""

import json
import os
import pathlib
import subprocess
import sys

import yaml

checkov, *templates = sys.argv[1:]
exceptions = yaml.safe_load((pathlib.Path(__file__).parent / "exceptions.yaml").read_text(encoding="utf-8"))
excepted = {(check, place) for check, entry in exceptions.items() for place in entry["resources"]}
names = {str(pathlib.Path(file).resolve()): name for name, file in (item.split("=", 1) for item in templates)}

command = [checkov, "--framework", "cloudformation", "--output", "json", "--skip-download"]
for file in names:
    command += ["--file", file]
# Else it passes over a checkout that lies in one, and says nothing.
environment = {**os.environ, "CKV_IGNORE_HIDDEN_DIRECTORIES": "false"}
run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
try:
    report = json.loads(run.stdout)
except ValueError:
    sys.exit(f"checkov printed no report: {run.stdout[:500]} {run.stderr[-2000:]}")

problems = []
if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
    problems.append(f"checkov could not read the templates: {report['summary']}")
found = set()
for finding in report["results"]["failed_checks"]:
    place = f"{names[str(pathlib.Path(finding['file_abs_path']).resolve())]}:{finding['resource'].split('.', 1)[1]}"
    found.add((finding["check_id"], place))
    if (finding["check_id"], place) not in excepted:
        problems.append(f"{finding['check_id']} {place}: {finding['check_name']}")
for check, place in sorted(excepted - found):
    problems.append(f"{check} {place}: excepted, but checkov finds nothing there")
for check, entry in exceptions.items():
    if len(entry.get("reason", "")) < 20:
        problems.append(f"{check}: no reason")
print("\n".join(problems))
print(f"checkov: {report['summary']['passed']} passed, {len(found)} excepted, {len(problems)} problems")
sys.exit(1 if problems else 0)
