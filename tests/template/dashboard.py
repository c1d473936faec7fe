"""The dashboard as CloudWatch will draw it: the body is JSON once its variables
are put in, widgets keep to their grid, and every metric and alarm exists."""

import itertools
import json
import re
import sys

import yaml_templates as templates

check = templates.Checks("template dashboard")
COLUMNS = 24
# What AWS publishes itself: the dimensions of each, and the names used here.
OF_AWS = {
    "AWS/Lambda": (["FunctionName"], {"Errors", "Throttles", "Duration"}),
    "AWS/Kinesis": (["StreamName"], {"IncomingBytes", "IncomingRecords"}),
    "AWS/DynamoDB": (["TableName"], {"ConsumedWriteCapacityUnits", "ConsumedReadCapacityUnits"}),
    "AWS/Logs": (["LogGroupName"], {"IncomingBytes"}),
    "AWS/ES": (["DomainName", "ClientId"], {"ClusterUsedSpace", "FreeStorageSpace"}),
    "AWS/ApiGateway": (["ApiId"], {"Count", "4xx", "5xx"}),
}

template = templates.load(templates.ROOT / "infra/dashboard.yaml")
text = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
variables = set(re.findall(r"\$\{([^}]+)\}", text))
parameters = set(template["Parameters"])
unknown = {name for name in variables if not name.startswith("AWS::")} - parameters
check(f"variables are parameters {unknown}", not unknown)
check(f"parameters are used {parameters - variables}", parameters <= variables)
body = json.loads(re.sub(r"\$\{([^}]+)\}", lambda found: found[1], text))
widgets = body["widgets"]

for widget in widgets:
    at = f"{widget['properties'].get('title', widget['type'])} at {widget['x']},{widget['y']}"
    check(f"{at}: within {COLUMNS} columns", 0 <= widget["x"] and widget["x"] + widget["width"] <= COLUMNS)
    check(f"{at}: has a size", 0 < widget["width"] and 0 < widget["height"] <= 1000)
for one, other in itertools.combinations(widgets, 2):
    apart = (
        one["x"] + one["width"] <= other["x"]
        or other["x"] + other["width"] <= one["x"]
        or one["y"] + one["height"] <= other["y"]
        or other["y"] + other["height"] <= one["y"]
    )
    if not apart:
        check(f"{one['properties']} lies on {other['properties']}", False)
check("widgets do not overlap", len(widgets) > 20)

published = templates.metrics()
for widget in widgets:
    for metric in widget["properties"].get("metrics", []):
        namespace, name, *rest = metric
        pairs = [item for item in rest if isinstance(item, str)]
        dimensions = dict(zip(pairs[::2], pairs[1::2]))
        at = f"{widget['properties']['title']}: {namespace} {name}"
        check(f"{at}: an option is an object at the end", all(isinstance(item, str) for item in rest[:-1]))
        if namespace == "Freshet":
            stage = dimensions.get("Stage")
            check(f"{at}: {stage} publishes it", name.split(".")[0] in published.get(stage, ()))
            check(f"{at}: is of this stack", list(dimensions) == ["Stack", "Stage"] and dimensions["Stack"] == "Stack")
        else:
            names, known = OF_AWS[namespace]
            check(f"{at}: AWS has it", list(dimensions) == names and name in known)

first = min(widgets, key=lambda widget: widget["y"])
check("alarms are on top", first["type"] == "alarm" and first["width"] == COLUMNS)
shown = {alarm.split(":alarm:Stack-")[1] for alarm in first["properties"]["alarms"]}
check(f"every alarm is on it, and nothing else {shown ^ templates.alarm_names()}", shown == templates.alarm_names())
check("one row for each stage", all(f"## {stage} ·" in text for stage in ("collect", "enrich", "aggregate", "query", "health")))
sys.exit(check.report())
