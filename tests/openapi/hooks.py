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
    # Calls are of these days, too. What each kind of them needs, all have.
    schemas = raw_schema["components"]["schemas"]
    now = datetime.datetime.now(datetime.timezone.utc)
    ago = [(now - datetime.timedelta(minutes=minutes)).isoformat() for minutes in (0, 9)]
    schemas["Batch"]["properties"]["sentAt"] = {"const": ago[0]}
    schemas["Call"]["properties"] |= {"timestamp": {"enum": ago}, "sentAt": {"const": ago[0]}}
    schemas["Call"]["required"] = ["type", "event"]
    for name in ["messageId", "userId", "anonymousId", "event"]:
        schemas["Call"]["properties"][name]["pattern"] = "^[a-zA-Z0-9]+$"
    # A schema does not say that keys are not empty all the way down.
    flat = {"type": ["string", "number", "boolean", "null"]}
    for name in ["properties", "traits", "context"]:
        schemas["Call"]["properties"][name]["additionalProperties"] = flat
    schemas["Batch"]["properties"]["context"]["additionalProperties"] = flat
    call = {"type": "track", "userId": "u1", "event": "Signed Up"}
    for path, body in [("/v1/{call}", call), ("/v1/batch", {"batch": [call]})]:
        content = raw_schema["paths"][path]["post"]["requestBody"]["content"]
        content["text/plain"] = {"schema": {"enum": [json.dumps(body)]}}
    for parameter in raw_schema["paths"]["/pixel/v1/{call}"]["get"]["parameters"]:
        if parameter["name"] in ["anonymousId", "event"]:
            parameter["required"] = True
            parameter["schema"] = {"type": "string", "pattern": "^[a-zA-Z0-9]{1,100}$"}
