"""What every alarm must have: a section of the runbook, someone who is told, a
decision about silence, a threshold that is a parameter, and a metric that is
published. Prints as the other template checks do."""

import re
import sys

import yaml_templates as templates

ROOT = templates.ROOT
check = templates.Checks("template alarms")


def anchors(page):
    """The anchors that a reader's browser finds, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
found = anchors(runbook)
metrics = templates.metrics()
lambda_metrics = {"Errors", "Throttles", "Duration", "IteratorAge", "Invocations"}
linked = set()
alarms = 0

for file in templates.nested():
    template = templates.load(file)
    parameters = template.get("Parameters", {})
    for name, resource in template["Resources"].items():
        if resource["Type"] not in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
            continue
        alarms += 1
        properties = resource["Properties"]
        at = f"{file.name} {name}"
        description = properties["AlarmDescription"]["Fn::Sub"]
        link = re.search(r"^(\S.*) \$\{RunbookUrl\}#([a-z-]+)$", description)
        check(f"{at}: its description is a sentence and a link to the runbook", link and link[1].endswith("."))
        anchor = link[2] if link else None
        check(f"{at}: docs/runbook.md has #{anchor}", anchor in found)
        linked.add(anchor)
        section = runbook.split(f"\n## {anchor}\n")[-1].split("\n## ")[0] if anchor in found else ""
        check(f"{at}: the section says what it means, where to look and what to do",
              "**Means.**" in section and re.search(r"\*\*Look[.,]", section) and re.search(r"\*\*Do\.|, do\.\*\*", section))
        for actions in ("AlarmActions", "OKActions"):
            targets = [templates.reference(target) for target in properties.get(actions, [])]
            check(f"{at}: {actions} name a topic", targets and all(target and target.endswith("Topic") for target in targets))
        if resource["Type"] == "AWS::CloudWatch::CompositeAlarm":
            continue
        check(f"{at}: a decision about missing data", properties.get("TreatMissingData") in ("breaching", "notBreaching"))
        threshold = templates.reference(properties["Threshold"])
        check(f"{at}: its threshold is a parameter", parameters.get(threshold, {}).get("Type") == "Number")
        check(f"{at}: no metric math", "Metrics" not in properties and "Metric" not in properties)
        namespace, metric = properties["Namespace"], properties["MetricName"]
        dimensions = [dimension["Name"] for dimension in properties["Dimensions"]]
        if namespace == "Freshet":
            stage = properties["Dimensions"][-1]["Value"]
            check(f"{at}: {stage} publishes {metric}", metric in metrics.get(stage, ()))
            check(f"{at}: the dimensions are Stack and Stage", dimensions == ["Stack", "Stage"])
        else:
            check(f"{at}: {metric} is Lambda's", namespace == "AWS/Lambda" and metric in lambda_metrics)

# The other way round: a section that no alarm leads to is out of date.
sections = {heading for heading in re.findall(r"^## ([a-z-]+)$", runbook, re.MULTILINE)}
check(f"every section has its alarm {sorted(sections - linked)}", sections <= linked)
for anchor in sorted(set(re.findall(r"\]\(#([a-z-]+)\)", runbook))):
    check(f"the runbook's own link #{anchor}", anchor in found)
for page, anchor in sorted(set(re.findall(r"\]\(([a-z-]+\.md)(?:#([a-z-]+))?\)", runbook))):
    target = ROOT / "docs" / page
    check(f"the runbook's link {page}#{anchor}",
          target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8"))))
check("there are alarms", alarms > 20)
# A metric under a name that nobody publishes would be silent for ever.
check("metrics are read by stage", "LagRecords" in metrics["enrich"] and "LagRecords" not in metrics["health"])
sys.exit(check.report())
