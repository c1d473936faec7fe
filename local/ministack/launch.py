"""Starts MiniStack with ten corrections, each made in memory at its start.

They belong to the one version that requirements.txt pins, so any other is
refused. The server's own variables say where it listens (BIND_HOST,
GATEWAY_PORT).
"""

import importlib.metadata
import socketserver
import sys
import time

VERSION = "1.5.33"
EXPIRE_EVERY_S = 5

found = importlib.metadata.version("ministack")
if found != VERSION:
    sys.exit(f"launch.py corrects MiniStack {VERSION}, but {found} is installed")

import ministack.services.cloudformation.provisioners as provisioners  # noqa: E402
import ministack.services.dynamodb as dynamodb  # noqa: E402
import ministack.services.kinesis as kinesis  # noqa: E402
import ministack.services.lambda_svc as lambda_svc  # noqa: E402
import resharding  # noqa: E402
import resources  # noqa: E402
from ministack.app import main  # noqa: E402

# 1. Every put and read drops expired records, walking all that the stream
#    holds: 3,500 puts a second and falling. Records are in order of arrival,
#    so look at the first of each shard, and not at every call.
last_expiry = {}


def expire_records(stream):
    now = time.time()
    if now - last_expiry.get(id(stream), 0) < EXPIRE_EVERY_S:
        return
    last_expiry[id(stream)] = now
    oldest_kept = now - stream["RetentionPeriodHours"] * 3600
    for shard in stream["shards"].values():
        records = shard["records"]
        if records and records[0]["ApproximateArrivalTimestamp"] < oldest_kept:
            shard["records"] = [r for r in records if r["ApproximateArrivalTimestamp"] >= oldest_kept]


kinesis._expire_records = expire_records

# 2. The same for shard iterators.
expire_iterators = kinesis._expire_iterators
last_iterator_expiry = 0.0


def expire_iterators_now_and_then():
    global last_iterator_expiry
    if time.time() - last_iterator_expiry >= EXPIRE_EVERY_S:
        last_iterator_expiry = time.time()
        expire_iterators()


kinesis._expire_iterators = expire_iterators_now_and_then

# 3. Its event source mapping counts failed records as done. Ours reads the
#    stream instead, so that there must be only one.
lambda_svc._poll_kinesis = lambda: False

# 4. Its Runtime API answers in two small writes; Nagle's algorithm would hold
#    the second one back for 40 ms.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# 5. It knows metrics, and neither many of them nor what alarms make of them.
import metrics  # noqa: E402

metrics.correct()

# 6. Schedules are run where the functions are: here, there would be two runs.
import ministack.services.scheduler as scheduler  # noqa: E402

scheduler.start_scheduler = lambda: None

# 7. Its reshards throw the parents away, with what nobody has read yet.
resharding.correct()

# 8. A table that a template makes never lets anything expire: its TTL is left out.
table_handler = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
create_table = table_handler["create"]


def create_table_with_ttl(logical_id, props, stack_name):
    name, attributes = create_table(logical_id, props, stack_name)
    specification = props.get("TimeToLiveSpecification")
    if specification:
        status, _, body = dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": specification})
        if status != 200:
            raise ValueError(f"{logical_id}: {body}")
    return name, attributes


table_handler["create"] = create_table_with_ttl

# 9. Composite alarms and gradual deployments, in templates.
resources.correct()

# 10. A template without a transform is handed back as it was written, as AWS
#     does; what reads nested ones here needs no YAML if it is JSON as well.
import json  # noqa: E402

import ministack.services.cloudformation.handlers as handlers  # noqa: E402

handlers._processed_template_body = lambda record: json.dumps(record.get("_template") or {}, default=str)

main()
