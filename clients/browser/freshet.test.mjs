// The browser client between a pretend page and a pretend server.
import { test } from "node:test";
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const create = createRequire(import.meta.url)("./freshet.js");

function page(answer, storage = new Map()) {
  const timers = [];
  const requests = [];
  const beacons = [];
  const handlers = {};
  const root = {
    localStorage: { getItem: (k) => storage.get(k) ?? null, setItem: (k, v) => storage.set(k, v) },
    location: { href: "https://shop.example/p" },
    navigator: { language: "en-GB", sendBeacon: (url, body) => beacons.push({ url, body: JSON.parse(body) }) },
    document: { title: "T", referrer: "", visibilityState: "visible", addEventListener: (name, f) => { handlers[name] = f; } },
    addEventListener: (name, f) => { handlers[name] = f; },
    setTimeout: (f, ms) => timers.push({ f, ms }),
    clearTimeout: () => {},
    fetch: async (url, request) => {
      const body = JSON.parse(request.body);
      requests.push({ url, body, headers: request.headers });
      const { status = 200, json, headers = {} } = answer(body.events, requests.length);
      return { status, headers: { get: (name) => headers[name] ?? null }, json: async () => json };
    },
  };
  const client = create(root, { endpoint: "https://e.example", writeKey: "k/1" });
  return { client, timers, requests, beacons, handlers, storage, root };
}

const all = (status) => (events) => ({ json: { results: events.map((e, index) => ({ index, event_id: e.event_id, status })) } });

test("an event is complete and leaves the queue when the answer is ok", async () => {
  const { client, requests } = page(all("ok"));
  client.page({ product_id: "mug" });
  await client.flush();
  assert.equal(client.pending(), 0);
  const [event] = requests[0].body.events;
  assert.equal(requests[0].url, "https://e.example/v1/events?writeKey=k%2F1");
  assert.equal(requests[0].headers["content-type"], "text/plain");
  assert.deepEqual([event.event_type, event.page_url, event.metadata.product_id], ["page_view", "https://shop.example/p", "mug"]);
  for (const field of ["event_id", "user_id", "session_id", "timestamp", "sent_at"]) assert.ok(event[field], field);
});

test("drop leaves the queue and is told, retry stays", async () => {
  const { client, timers } = page((events) => ({
    status: 503,
    headers: { "retry-after": "3" },
    json: { results: [{ index: 0, status: "ok" }, { index: 1, status: "drop", code: "x" }, { index: 2, status: "retry" }] },
  }));
  const told = [];
  client.onEvent((kind, event) => told.push([kind, event.event_type]));
  ["a", "b", "c"].forEach((kind) => client.track(kind));
  timers.splice(0);
  await client.flush();
  assert.equal(client.pending(), 1);
  assert.deepEqual(told.slice(3), [["ok", "a"], ["drop", "b"]]);
  assert.ok(timers.at(-1).ms >= 3000, `waits as asked: ${timers.at(-1).ms}`);
});

test("a network failure keeps everything, with the same ids", async () => {
  const { client, requests } = page((events, n) => { if (n === 1) throw new Error("offline"); return all("ok")(events); });
  client.track("a");
  await client.flush();
  assert.equal(client.pending(), 1);
  await client.flush();
  assert.equal(client.pending(), 0);
  assert.equal(requests[0].body.events[0].event_id, requests[1].body.events[0].event_id);
});

test("a request refused for good is dropped, a wrong key is not", async () => {
  for (const [status, left] of [[400, 0], [413, 0], [401, 1], [429, 1], [500, 1]]) {
    const { client } = page(() => ({ status, json: { code: "c" } }));
    client.track("a");
    await client.flush();
    assert.equal(client.pending(), left, String(status));
  }
});

test("batches are bounded and the rest follows", async () => {
  const { client, requests, timers } = page(all("ok"));
  for (let n = 0; n < 120; n += 1) client.track("a");
  while (client.pending() > 0) await client.flush();
  assert.deepEqual(requests.map((r) => r.body.events.length), [50, 50, 20]);
  assert.ok(timers.length > 0);
});

test("a page that goes away sends a beacon and keeps its queue", async () => {
  const { client, beacons, handlers, storage } = page(all("ok"));
  const event = client.track("a");
  handlers.pagehide();
  assert.equal(beacons[0].body.events[0].event_id, event.event_id);
  assert.equal(client.pending(), 1);
  const next = page(all("ok"), storage);
  assert.equal(next.timers[0].ms, 0);
  await next.client.flush();
  assert.equal(next.requests[0].body.events[0].event_id, event.event_id);
});

test("ids stay, a session ends after half an hour", () => {
  const { client, storage } = page(all("ok"));
  const [user, session] = [client.userId(), client.sessionId()];
  assert.equal(client.sessionId(), session);
  storage.set("freshet.seen", String(Date.now() - 31 * 60 * 1000));
  assert.notEqual(client.sessionId(), session);
  assert.equal(client.userId(), user);
  client.identify("ann");
  assert.equal(client.userId(), "ann");
});

test("the queue is bounded and says what it lost", () => {
  const { client } = page(all("ok"));
  const lost = [];
  client.onEvent((kind) => { if (kind === "overflow") lost.push(kind); });
  for (let n = 0; n < 1003; n += 1) client.track("a");
  assert.deepEqual([client.pending(), lost.length], [1000, 3]);
});

test("without storage events live as long as the page", async () => {
  const { root } = page(all("ok"));
  root.localStorage = { getItem() { throw new Error("forbidden"); }, setItem() { throw new Error("forbidden"); } };
  const client = create(root, { endpoint: "https://e.example" });
  client.track("a");
  assert.equal(client.pending(), 1);
  await client.flush();
  assert.equal(client.pending(), 0);
});
