"""How a change is put in place: through aliases that are moved step by step and
taken back by their own function's errors; with parameters that exist, and a
release for each change; by workflows that run what they were reviewed with."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml
import yaml_templates as templates

check = templates.Checks("template deployment")
ROOT = templates.ROOT
source = templates.load(ROOT / "template.yaml")
expanded = templates.expanded()
resources = expanded["Resources"]
GRADUAL = ["Collect", "Query", "Enrich", "Aggregate"]


def of_type(kind):
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


# ── aliases ──────────────────────────────────────────────────────────────────
for name, properties in of_type("AWS::ApiGatewayV2::Integration").items():
    check(f"{name} calls an alias", properties["IntegrationUri"].get("Ref", "").endswith("FunctionAliaslive"))
for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission"):
    for name, properties in of_type(kind).items():
        check(f"{name} is about an alias", properties["FunctionName"].get("Ref", "").endswith("FunctionAliaslive"))
for function in GRADUAL:
    policy = resources[f"{function}FunctionAliaslive"].get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
    group = policy.get("DeploymentGroupName", {}).get("Ref")
    check(f"{function}: its alias is moved by CodeDeploy", group == f"{function}FunctionDeploymentGroup")
    properties = resources[f"{function}FunctionDeploymentGroup"]["Properties"]
    condition, alarms, otherwise = properties["AlarmConfiguration"]["Fn::If"]
    own = {"Enabled": True, "Alarms": [{"Name": {"Fn::GetAtt": [f"{function}Alarms", "Outputs.ErrorsAlarm"]}}]}
    check(f"{function}: taken back by its own errors and nothing else", condition == "RollsBack" and alarms == own)
    check(f"{function}: or not at all, for a repair", otherwise == {})
    check(f"{function}: without SAM's own wide role", properties["ServiceRoleArn"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]})
check("no role but ours", not [name for name in of_type("AWS::IAM::Role") if name not in ("HealthScheduleRole", "DeploymentRole")])
errors = templates.load(ROOT / "infra/function-alarms.yaml")["Resources"]["FunctionErrors"]["Properties"]
check("errors that are not there do not take a deployment back", errors["TreatMissingData"] == "notBreaching")
check("errors take new code back unless said otherwise", source["Parameters"]["RollBackOnErrors"]["Default"] == "true")
check("production is gradual unless said otherwise", source["Parameters"]["DeploymentPreference"]["Default"] == "Canary10Percent5Minutes")

# Nothing may wait for itself: a deployment group waits for alarms, alarms for a
# function, health for a mapping, a mapping for an alias, an alias for its group.
waits = {}
for name, resource in resources.items():
    text = json.dumps(resource)
    found = set(re.findall(r'"Ref": "(\w+)"', text)) | set(re.findall(r'"Fn::GetAtt": \["(\w+)"', text))
    found |= {match.split(".")[0] for match in re.findall(r"\$\{([\w.]+)\}", text)}
    depends = resource.get("DependsOn", [])
    waits[name] = (found | set([depends] if isinstance(depends, str) else depends)) & set(resources)
done = set()
while ready := {name for name in waits if name not in done and waits[name] <= done}:
    done |= ready
check(f"resources that wait for each other: {sorted(set(waits) - done)}", done == set(waits))

# ── a release for each change ────────────────────────────────────────────────
def versions(change):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "template.yaml"
        text = (ROOT / "template.yaml").read_text(encoding="utf-8")
        changed = change(text)
        file.write_text(changed, encoding="utf-8")
        return {name for name, resource in templates.expanded(file)["Resources"].items() if resource["Type"] == "AWS::Lambda::Version"}


default = versions(lambda text: text)
release = versions(lambda text: re.sub(r'(  Release:\n    Type: String\n    Default: )""', r"\1abc", text))
check("five functions have versions", len(default) == 5)
check("a release publishes all of them", len(release) == 5 and not release & default)
memory = versions(lambda text: text.replace("MemorySize: 512", "MemorySize: 513"))
check("a changed template publishes what it changes", len(memory - default) == 1)

# ── reserved concurrency ─────────────────────────────────────────────────────
readers = source["Mappings"]["Readers"]
for function in ("Enrich", "Aggregate"):
    factor = source["Resources"][f"{function}Mapping"]["Properties"]["ParallelizationFactor"]
    for shards, reserved in readers.items():
        check(f"{function}: {shards} shards have {factor} readers each", reserved[function] == int(shards) * factor)
    concurrency = source["Resources"][f"{function}Function"]["Properties"]["ReservedConcurrentExecutions"]["Fn::If"]
    check(f"{function}: reserves by that table, on request only", concurrency[0] == "Reserves" and concurrency[1]["Fn::FindInMap"][2] == function)
check("none is reserved unless it is asked for", source["Parameters"]["ReservedForShards"]["Default"] == 0)
check("every choice is in the table", {str(value) for value in source["Parameters"]["ReservedForShards"]["AllowedValues"]} == set(readers))
asserted = json.dumps(source["Rules"]["Reserved"])
check("and must be the number of shards", '{"Fn::Equals": [{"Ref": "ReservedForShards"}, {"Ref": "ShardCount"}]}' in asserted)
limited = [name for name, resource in source["Resources"].items() if "ReservedConcurrentExecutions" in resource.get("Properties", {})]
check("nothing else is limited", sorted(limited) == ["AggregateFunction", "EnrichFunction"])

# ── parameters reach what they are for ───────────────────────────────────────
for name, resource in source["Resources"].items():
    location = resource.get("Properties", {}).get("Location")
    if location:
        nested = templates.load(ROOT / location)["Parameters"]
        given = set(resource["Properties"]["Parameters"])
        check(f"{name}: {location} takes {given - set(nested)}", given <= set(nested))
        needed = {key for key, value in nested.items() if "Default" not in value}
        check(f"{name}: {location} needs {needed - given}", needed <= given)
for function in ("Collect", "Query", "Enrich", "Aggregate", "Health", "Provision"):
    parameters = source["Resources"][f"{function}Alarms"]["Properties"]["Parameters"]
    timeout = source["Resources"][f"{function}Function"]["Properties"]["Timeout"]
    check(f"{function}: near its timeout is 70 to 95 % of it", 0.7 <= parameters["DurationMs"] / (timeout * 1000) <= 0.95)

# ── stages ───────────────────────────────────────────────────────────────────
stages = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
stacks = []
for stage in ("dev", "staging", "prod"):
    config = stages[stage]["deploy"]["parameters"]
    stacks.append(config["stack_name"])
    check(f"{stage}: has tags", f"stage={stage}" in config["tags"] and "application=freshet" in config["tags"])
    chosen = dict(pair.split("=", 1) for pair in config["parameter_overrides"])
    for name, value in chosen.items():
        parameter = source["Parameters"].get(name)
        check(f"{stage}: {name} is a parameter", parameter)
        allowed = (parameter or {}).get("AllowedValues")
        check(f"{stage}: {name}={value} is allowed", not allowed or value in map(str, allowed))
    check(f"{stage}: reserves for its shards or not at all", chosen.get("ReservedForShards", "0") in ("0", chosen.get("ShardCount")))
check("no stack's name is the beginning of another's", not [a for a in stacks for b in stacks if a != b and b.startswith(a)])

# ── deploy.sh ────────────────────────────────────────────────────────────────
def would_run(*arguments):
    run = subprocess.run([str(ROOT / "infra/deploy.sh"), "--print", *arguments], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout.splitlines()


code, lines = would_run("prod", "ShardCount=24", "--", "--role-arn", "r")
check("deploy.sh: what is given replaces what the stage says", code == 0 and "ShardCount=24" in lines and "ShardCount=12" not in lines)
check("deploy.sh: the stage's others are kept", "IngestionLowPerMinute=6000" in lines and lines[-2:] == ["--role-arn", "r"])
release = [line for line in lines if line.startswith("Release=")]
check("deploy.sh: the release is one that the template takes",
      len(release) == 1 and re.fullmatch(source["Parameters"]["Release"]["AllowedPattern"], release[0].removeprefix("Release=")))
check("deploy.sh: the same again is the same release", would_run("prod", "ShardCount=24")[1][-1] == release[0])
check("deploy.sh: another parameter is another release", would_run("prod", "ShardCount=25")[1][-1] != release[0])
check("deploy.sh: no such stage", would_run("nowhere")[0] != 0)

# ── workflows ────────────────────────────────────────────────────────────────
workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
check("there are workflows", len(workflows) >= 3)
for file in workflows:
    text = file.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    for used in re.findall(r"uses: (\S+)(.*)", text):
        local = used[0].startswith("./.github/workflows/") and (ROOT / used[0]).exists()
        check(f"{file.name}: {used[0]} is pinned", local or (re.search(r"@[0-9a-f]{40}$", used[0]) and re.search(r"# v\d", used[1])))
    check(f"{file.name}: may not do everything", workflow["permissions"].get("contents") == "read" and "write-all" not in text)
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", []):
            # What a stranger can put into a title or a branch's name must not become a command.
            check(f"{file.name} {name}: commands take values from variables", "${{" not in step.get("run", ""))
            for script in re.findall(r"infra/\w+\.sh|\./\.ci/run", step.get("run", "")):
                check(f"{file.name} {name}: {script} is there and may be run", os.access(ROOT / script, os.X_OK))
deploy = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))["jobs"]
order = {name: job.get("needs") for name, job in deploy.items()}
check("test, build, staging, production", order == {"test": None, "build": "test", "staging": "build", "production": "staging"})
environments = {deploy[job]["with"]["environment"] for job in ("staging", "production")}
pipeline = templates.load(ROOT / "infra/pipeline.yaml")
check("the pipeline's roles are for the same environments", environments == set(pipeline["Parameters"]["GitHubEnvironment"]["AllowedValues"]))
stage = (ROOT / ".github/workflows/stage.yml").read_text(encoding="utf-8")
outputs = {re.search(r"variable (\w+)", output["Description"])[1] for output in pipeline["Outputs"].values()}
check("every output of the pipeline is a variable that a stage uses", all(f"vars.{name} " in stage for name in outputs))
check("stages sign in by OIDC alone", "id-token: write" in stage and "aws-secret-access-key" not in stage)
sys.exit(check.report())
