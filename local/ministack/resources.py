"""Resources of our templates that MiniStack's CloudFormation does not know.

A composite alarm it has, but not for templates. CodeDeploy it has not: what
shifts traffic between two versions has nothing to do where functions are run
from a folder, so these are accepted and nothing else.
"""

import ministack.services.cloudformation.provisioners as provisioners
import ministack.services.cloudwatch as cloudwatch


def answer(response):
    status, _, body = response
    if status != 200:
        raise ValueError(body)


def put_composite(name, properties):
    answer(cloudwatch._put_composite_alarm({}, {**properties, "AlarmName": name}, is_cbor=False, is_json=True))
    return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}


def create_composite(logical_id, properties, stack_name):
    name = properties.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=255)
    return put_composite(name, properties)


def update_composite(physical_id, _old, properties, _stack_name):
    return put_composite(properties.get("AlarmName") or physical_id, properties)


def delete_composite(physical_id, _properties):
    answer(cloudwatch._delete_alarms({}, {"AlarmNames": [physical_id]}, is_cbor=False, is_json=True))


def accept(logical_id, _properties, stack_name):
    return provisioners._physical_name(stack_name, logical_id, max_len=100), {}


def accept_update(physical_id, _old, _properties, _stack_name):
    return physical_id, {}


def correct():
    known = provisioners._RESOURCE_HANDLERS
    composite = {"create": create_composite, "update": update_composite, "delete": delete_composite}
    accepted = {"create": accept, "update": accept_update, "delete": lambda _physical_id, _properties: None}
    for kind, handlers in (
        ("AWS::CloudWatch::CompositeAlarm", composite),
        ("AWS::CodeDeploy::Application", accepted),
        ("AWS::CodeDeploy::DeploymentGroup", accepted),
    ):
        if kind in known:
            raise ValueError(f"MiniStack knows {kind} by now")
        known[kind] = handlers
