"""Prints a SAM template as CloudFormation will see it: the transform that the
service runs, run here. Local paths become S3 addresses, as packaging makes them."""

import json
import sys

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse


def refers(value, name):
    match value:
        case {"Ref": str(target)}:
            return target == name
        case dict():
            return any(refers(item, name) for item in value.values())
        case list():
            return any(refers(item, name) for item in value)
    return False


with open(sys.argv[1], encoding="utf-8") as file:
    template = yaml_parse(file.read())

template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
for resource in template["Resources"].values():
    properties = resource.setdefault("Properties", {})
    match resource["Type"]:
        case "AWS::Serverless::Function":
            properties["CodeUri"] = "s3://bucket/code.zip"
        case "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = "s3://bucket/layer.zip"
        case "AWS::Serverless::Application":
            properties["Location"] = "https://bucket.s3.amazonaws.com/nested.yaml"

referred = {name for name in template.get("Parameters", {}) if refers(template["Resources"], name)}

# Managed policies are looked up by name; the template uses none.
expanded = Translator({}, Parser()).translate(template, parameter_values={})
# The transform itself reads some parameters, and leaves their values instead.
for name in referred:
    if not refers(expanded["Resources"], name):
        expanded["Parameters"].pop(name, None)
json.dump(expanded, sys.stdout, indent=1, default=str)
