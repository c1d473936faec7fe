"""What schemathesis must be told to hold the functions against the document."""

import datetime
import json
import time

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Says what a schema cannot: that an event is of these days, that its
    lengths are in bytes, and which URLs have a host."""
    now_ms = int(time.time() * 1000)
    event = raw_schema["components"]["schemas"]["Event"]["properties"]
    event["timestamp"] = {"type": "integer", "minimum": now_ms - 3_600_000, "maximum": now_ms}
    event["page_url"] = {"type": "string", "pattern": "^https://[a-z]{1,20}[.]example/[a-z0-9/]{0,30}$"}
    for name in ["event_id", "user_id", "session_id", "event_type"]:
        event[name]["pattern"] = "^[ -~]+$"
    # The examples are of a day, too. What is sent as text has no schema at all.
    line = json.dumps({
        "user_id": "u1",
        "session_id": "s1",
        "event_type": "page_view",
        "page_url": "https://shop.example/",
        "timestamp": now_ms,
    })
    for kind, content in raw_schema["paths"]["/v1/events"]["post"]["requestBody"]["content"].items():
        content.pop("example", None)
        content.pop("examples", None)
        if kind != "application/json":
            content["schema"] = {"enum": [line, f"{line}\n{line}\n"]}
    # Calls are of these days, too, and of bytes that a name may have.
    call = raw_schema["components"]["schemas"]["Call"]["properties"]
    now = datetime.datetime.now(datetime.timezone.utc)
    times = [(now - datetime.timedelta(minutes=minutes)).isoformat() for minutes in (0, 9)]
    call["timestamp"] = call["sentAt"] = {"enum": times}
    raw_schema["components"]["schemas"]["Batch"]["properties"]["sentAt"] = {"enum": times}
    for name in ["messageId", "userId", "anonymousId", "event"]:
        call[name]["pattern"] = "^[a-zA-Z0-9]+$"
    for path in ["/v1/{call}", "/beacon/v1/batch"]:
        content = raw_schema["paths"][path]["post"]["requestBody"]["content"]
        text = content["text/plain"].pop("example")
        content["text/plain"]["schema"] = {"enum": [text]}
