"""A walk through a shop, told by segment-analytics-python. As walker.mjs does it.

    python segment_python.py ENDPOINT WRITE_KEY

The SDK speaks up of failures only (`on_error`): what it has flushed without
one is delivered.
"""
import json
import pathlib
import sys
from urllib.parse import urlsplit

from segment.analytics.client import Client

endpoint, write_key = sys.argv[1:]
walk = json.loads((pathlib.Path(__file__).parent / "walk.json").read_text())
failed = {}
calls = []


def on_error(error, batch):
    for message in batch:
        failed[message["messageId"]] = str(error)


client = Client(write_key, host=endpoint, gzip=True, upload_size=5, upload_interval=0.2, on_error=on_error)


def say(what):
    print(json.dumps(what), flush=True)


def call(step, identified):
    step = dict(step)
    kind, page = step.pop("type"), dict(step.pop("page"))
    url = urlsplit(page["url"])
    page["path"] = url.path
    step["anonymous_id"] = "segment-python"
    if identified:
        step["user_id"] = "segment-python-ada"
    if kind == "page":
        step["properties"] = page
    context = {**walk["context"], "page": {**page, "search": f"?{url.query}" if url.query else ""}}
    _, message = getattr(client, kind)(context=context, **step)
    calls.append((step.get("event", kind), message["messageId"]))


for step in walk["before"]:
    call(step, False)
say({"paused": True})
sys.stdin.readline()
for step in walk["after"]:
    call(step, True)
say({"called": True})
client.shutdown()
say({"calls": [{"call": name, "id": message_id, "failed": failed.get(message_id)} for name, message_id in calls]})
