"""infra/smoke.sh against a stand-in of the API: when it is content and when not,
and that it asks as a stack wants to be asked."""

import datetime
import http.server
import json
import os
import subprocess
import sys
import threading

import yaml_templates as templates

check = templates.Checks("template smoke")
TAKEN = {"results": [{"index": 0, "event_id": "x", "status": "ok"}]}


def now(seconds=0):
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def state(status="healthy", probe="ok", seconds=0):
    return {"status": status, "checked_at": now(seconds), "checks": {"probe": {"status": probe, "message": "m"}, "domain": {"status": "skipped"}}}


def smoke(answer, reports, **environment):
    """Runs it: the answer to the event, and what health says look by look; returns
    its code, what it printed, and what it asked."""
    asked, looks = [], iter(reports)
    last = [None]

    class Handler(http.server.BaseHTTPRequestHandler):
        def reply(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append(("POST", dict(self.headers), json.loads(body)))
            self.reply(*answer)

        def do_GET(self):
            asked.append(("GET", dict(self.headers), None))
            last[0] = next(looks, last[0])
            self.reply(200, last[0]() if callable(last[0]) else last[0])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    run = subprocess.run(
        [str(templates.ROOT / "infra/smoke.sh"), "--urls", f"{url}/v1/events", f"{url}/v1/health"],
        env={**clean, "SMOKE_SECONDS": "2", "SMOKE_INTERVAL": "0.2", **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )
    server.shutdown()
    return run.returncode, run.stdout + run.stderr, asked


code, output, asked = smoke((200, TAKEN), [lambda: state(seconds=-60), lambda: state("unhealthy", "failing"), state])
check("content once the probe came out", code == 0 and "smoke test: healthy" in output)
check("not before, and not by a report of before", len([1 for method, *_ in asked if method == "GET"]) == 3)
event = asked[0][2]
check("the event says that it is synthetic", event["synthetic"] is True and event["user_id"] == "freshet-probe")
check("without credentials nothing is signed", "Authorization" not in asked[-1][1])

code, output, _ = smoke((200, TAKEN), [lambda: state("degraded", "warning")])
check("a slow probe of a degraded system came out, and is named", code == 0 and "probe: warning, m" in output)
for what, report in {
    "an old report": lambda: state(seconds=-60),
    "an unhealthy system": lambda: state("unhealthy"),
    "silence": lambda: state("unknown"),
    "a failing probe": lambda: state("degraded", "failing"),
    "no report": {"message": "Forbidden"},
    "no checks": lambda: {"status": "healthy", "checked_at": now()},
}.items():
    code, output, _ = smoke((200, TAKEN), [report])
    check(f"not content with {what}", code == 1 and "did not report" in output)
code, output, asked = smoke((401, {"message": "no key"}), [state])
check("not content if the event is not taken", code == 1 and "was not taken" in output and len(asked) == 1)
code, output, _ = smoke((200, {"results": [{"index": 0, "status": "drop", "code": "timestamp_invalid"}]}), [state])
check("nor if it is dropped", code == 1 and "timestamp_invalid" in output)

_, _, asked = smoke((200, TAKEN), [state], WRITE_KEY="w", READ_KEY="r", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s")
check("keys are sent where there are keys", asked[0][1].get("X-Write-Key") == "w" and asked[1][1].get("X-Read-Key") == "r")
_, _, asked = smoke((200, TAKEN), [state], AWS_ACCESS_KEY_ID="AKID", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="t", AWS_REGION="eu-central-1")
signature = asked[1][1].get("Authorization", "")
check("else the state is asked for with a signature", signature.startswith("AWS4-HMAC-SHA256 Credential=AKID/") and "/eu-central-1/execute-api/aws4_request" in signature)
check("and the session's token", asked[1][1].get("X-Amz-Security-Token") == "t")
check("which the event is not", "Authorization" not in asked[0][1])
sys.exit(check.report())
