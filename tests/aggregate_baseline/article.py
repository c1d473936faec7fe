#!/usr/bin/env python3
"""What `freshet bench aggregate` is measured beside: the stream processor that
the article describes, written anew from that description.

At each event it appends to a buffer, drops from its front what is older than
the window, and has every aggregator go over the whole buffer again. The result
is stored under the slot's number and as the latest; here the store is a dict,
which costs less than any network.

    article.py [--buffers 1000,10000,100000] [--seconds 3]

prints one JSON object: for each buffer, how many further events a second it
takes. Nothing but Python's standard library.
"""

import argparse
import collections
import json
import platform
import random
import time

WINDOW_S = 300
SLIDE_S = 60
STEPS = ("landing", "product_view", "add_to_cart", "checkout_start", "purchase")


def page_view(events, now):
    """Views, users and browsers of pages."""
    views = collections.Counter()
    users = collections.defaultdict(set)
    browsers = collections.Counter()
    for event in events:
        if event["event_type"] != "page_view":
            continue
        path = event.get("url_path", "unknown")
        views[path] += 1
        users[path].add(event["user_id"])
        browsers[event.get("user_agent_parsed", {}).get("name", "unknown")] += 1
    return {
        "total_page_views": sum(views.values()),
        "unique_pages": len(views),
        "top_pages": dict(views.most_common(10)),
        "unique_users_by_page": {path: len(who) for path, who in users.items()},
        "browser_distribution": dict(browsers),
        "window_start": now - WINDOW_S,
        "window_end": now,
    }


def funnel_step(event):
    """The step that an event is, if it is one. Nothing is ever `landing`."""
    kind = event["event_type"]
    if kind == "page_view":
        return "product_view" if event.get("url_path", "").startswith("/product") else None
    return kind if kind in STEPS else None


def conversion_funnel(events, now):
    """Events of each step, and the share of users who took it."""
    counts = dict.fromkeys(STEPS, 0)
    taken = collections.defaultdict(set)
    for event in events:
        step = funnel_step(event)
        if step:
            counts[step] += 1
            taken[event["user_id"]].add(step)
    rates = {}
    if taken:
        for step in STEPS:
            users = sum(1 for steps in taken.values() if step in steps)
            rates[f"{step}_rate"] = users / len(taken)
    return {
        "funnel_counts": counts,
        "conversion_rates": rates,
        "total_users_in_funnel": len(taken),
    }


class Processor:
    """A buffer, and aggregators that are asked again at each event."""

    def __init__(self):
        self.store = {}
        self.buffer = collections.deque()
        self.aggregators = {"page_view": page_view, "conversion_funnel": conversion_funnel}
        self.failures = 0

    def keep(self, event, now):
        """Appends to the buffer only: fills it before the measurement."""
        self.buffer.append({**event, "processed_at": now})

    def process(self, event):
        """Takes one event in."""
        now = time.time()
        self.keep(event, now)
        while self.buffer[0]["processed_at"] < now - WINDOW_S:
            self.buffer.popleft()
        for name, aggregate in self.aggregators.items():
            try:
                result = aggregate(list(self.buffer), now)
            except Exception:  # one that fails does not stop the others
                self.failures += 1
                continue
            expires_at = now + 2 * WINDOW_S
            self.store[f"{name}:{int(now // SLIDE_S)}"] = (result, expires_at)
            self.store[f"{name}:latest"] = ({**result, "timestamp": now}, expires_at)


def events(count, seed=7):
    """A shop's events: three quarters as many users, few pages, some purchases."""
    chance = random.Random(seed)
    kinds, shares = ("page_view", "search", "add_to_cart", "checkout_start", "purchase"), (70, 12, 10, 5, 3)
    paths = ["/", "/products", "/about", "/cart"] + [f"/products/{n}" for n in range(60)]
    browsers = ("Chrome", "Safari", "Firefox", "Edge", "Mobile Safari", "Chrome Mobile")
    users = max(1, count * 3 // 4)
    for kind in chance.choices(kinds, shares, k=count):
        yield {
            "user_id": f"user-{chance.randrange(users)}",
            "session_id": f"session-{chance.randrange(users)}",
            "event_type": kind,
            "url_path": chance.choice(paths),
            "user_agent_parsed": {"name": chance.choice(browsers)},
            "metadata": {"amount": 20.0} if kind == "purchase" else {},
        }


def measure(buffered, seconds):
    """Further events a second with so many in the buffer; at least three."""
    processor = Processor()
    started = time.time()
    made = list(events(buffered))
    for event in made:
        processor.keep(event, started)
    taken, began = 0, time.perf_counter()
    while taken < 3 or time.perf_counter() - began < seconds:
        # As many leave as come: the buffer stays as large as it is called.
        processor.buffer.popleft()
        processor.process(made[taken % buffered])
        taken += 1
    elapsed = time.perf_counter() - began
    latest, _ = processor.store["page_view:latest"]
    assert len(processor.buffer) == buffered and processor.failures == 0
    assert 0 < latest["total_page_views"] < buffered or buffered < 100
    return {"buffer": buffered, "events": taken, "seconds": elapsed, "events_per_second": taken / elapsed}


def main():
    parser = argparse.ArgumentParser(description="events a second of the article's algorithm")
    parser.add_argument("--buffers", default="1000,10000,100000", help="sizes, by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each size")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.buffers.split(",")]
    if min(sizes) < 1:
        parser.error("a buffer holds at least one event")
    runs = [measure(size, arguments.seconds) for size in sizes]
    print(json.dumps({"python": platform.python_version(), "window_s": WINDOW_S, "runs": runs}))


if __name__ == "__main__":
    main()
