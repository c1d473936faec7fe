/*
 * Freshet's browser client: one file, no dependencies.
 *
 *   <script src="/freshet.js" data-endpoint="https://…" data-write-key="…"></script>
 *   freshet.track("add_to_cart", { product_id: "mug", amount: 18 });
 *
 * Events are queued in localStorage, sent in batches, and leave the queue only
 * when the answer says `ok` or `drop`. Every event has its id from the start,
 * so sending it twice (after a lost answer, or by beacon and again on the next
 * page) changes nothing on the server.
 */
(function (root, factory) {
  "use strict";
  const script = root.document && root.document.currentScript;
  const data = (script && script.dataset) || {};
  if (typeof module === "object" && module.exports) module.exports = factory;
  else root.freshet = factory(root, { endpoint: data.endpoint, writeKey: data.writeKey });
})(typeof globalThis === "object" ? globalThis : this, function createFreshet(root, options) {
  "use strict";

  const BATCH_EVENTS = 50;
  const BATCH_BYTES = 400000;
  const BEACON_BYTES = 60000; // browsers refuse beacons over 64 KiB
  const QUEUE_EVENTS = 1000;
  const FLUSH_MS = 2000;
  const FIRST_BACKOFF_MS = 1000;
  const LONGEST_BACKOFF_MS = 60000;
  const SESSION_MS = 30 * 60 * 1000;
  const QUEUE = "freshet.queue";

  let endpoint = options.endpoint;
  let writeKey = options.writeKey;
  const listeners = [];
  let timer = null;
  let sending = false;
  let failures = 0;
  let memory = {}; // where storage is forbidden, for as long as the page lives

  function read(key) {
    try { return root.localStorage.getItem(key); } catch (_) { return memory[key] || null; }
  }
  function write(key, value) {
    try { root.localStorage.setItem(key, value); } catch (_) { memory[key] = value; }
  }
  function queue() {
    try { return JSON.parse(read(QUEUE)) || []; } catch (_) { return []; }
  }
  function newId() {
    if (root.crypto && root.crypto.randomUUID) return root.crypto.randomUUID();
    return "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () => Math.floor(Math.random() * 16).toString(16));
  }
  function stored(key) {
    let value = read(key);
    if (!value) write(key, (value = newId()));
    return value;
  }

  /** The visitor: an id that stays in this browser until `identify` replaces it. */
  function userId() { return stored("freshet.user"); }

  /** The visit: ends after 30 minutes without an event. */
  function sessionId() {
    const now = Date.now();
    const last = Number(read("freshet.seen")) || 0;
    if (now - last > SESSION_MS) write("freshet.session", newId());
    write("freshet.seen", String(now));
    return stored("freshet.session");
  }

  function tell(kind, event, result) { listeners.forEach((listener) => listener(kind, event, result)); }

  /** Records that something happened. Returns the event, id included. */
  function track(eventType, metadata) {
    const event = {
      event_id: newId(),
      user_id: userId(),
      session_id: sessionId(),
      event_type: eventType,
      page_url: root.location.href,
      timestamp: new Date().toISOString(),
      metadata: Object.assign({ locale: root.navigator.language }, metadata),
    };
    const events = queue().concat(event);
    // A queue that nothing takes must not fill the storage: the oldest go.
    events.splice(0, Math.max(0, events.length - QUEUE_EVENTS)).forEach((old) => tell("overflow", old));
    write(QUEUE, JSON.stringify(events));
    tell("queued", event);
    schedule(events.length >= BATCH_EVENTS ? 0 : FLUSH_MS);
    return event;
  }

  /** Records a page view with its title and referrer. */
  function page(metadata) {
    const document = root.document || {};
    return track("page_view", Object.assign({ title: document.title, referrer: document.referrer || undefined }, metadata));
  }

  /** From now on events belong to this user. */
  function identify(id) { write("freshet.user", String(id)); }

  function schedule(ms) {
    if (timer !== null) return;
    timer = root.setTimeout(() => { timer = null; flush(); }, ms);
  }

  function address() {
    return endpoint + "/v1/events" + (writeKey ? "?writeKey=" + encodeURIComponent(writeKey) : "");
  }

  /** As many events as fit, oldest first; at least one. */
  function batch(events, bytes) {
    let size = 0;
    const fitting = events.slice(0, BATCH_EVENTS).filter((event, n) => {
      size += JSON.stringify(event).length + 40;
      return n === 0 || size <= bytes;
    });
    const sentAt = new Date().toISOString();
    return fitting.map((event) => Object.assign({}, event, { sent_at: sentAt }));
  }

  function remove(ids) {
    write(QUEUE, JSON.stringify(queue().filter((event) => !ids.has(event.event_id))));
  }

  /** Sends what is queued; resolves when the answer is in. */
  async function flush() {
    const events = batch(queue(), BATCH_BYTES);
    if (sending || !endpoint || events.length === 0) return;
    if (timer !== null) { root.clearTimeout(timer); timer = null; }
    sending = true;
    let wait = null;
    try {
      // text/plain and the key in the query: no preflight.
      const response = await root.fetch(address(), {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: JSON.stringify({ events }),
        keepalive: false,
      });
      const answer = await response.json().catch(() => ({}));
      wait = settle(events, response, answer);
    } catch (_) {
      wait = backoff();
    } finally {
      sending = false;
    }
    if (queue().length > 0) schedule(wait === null ? 0 : wait);
  }

  /** Takes what is settled out of the queue. How long to wait, if anything failed. */
  function settle(events, response, answer) {
    if (!Array.isArray(answer.results)) {
      // Refused as a whole: no better next time, unless the server is busy.
      if (response.status >= 400 && response.status < 500 && ![401, 408, 429].includes(response.status)) {
        remove(new Set(events.map((event) => event.event_id)));
        events.forEach((event) => tell("drop", event, answer));
        return null;
      }
      return backoff(response);
    }
    const settled = answer.results.filter((result) => result.status !== "retry");
    remove(new Set(settled.map((result) => events[result.index].event_id)));
    settled.forEach((result) => tell(result.status, events[result.index], result));
    if (settled.length === answer.results.length) { failures = 0; return null; }
    return backoff(response);
  }

  /** Full jitter under a doubling ceiling, and no less than Retry-After. */
  function backoff(response) {
    failures += 1;
    const ceiling = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
    const asked = Number(response && response.headers && response.headers.get("retry-after")) * 1000 || 0;
    return asked + Math.random() * ceiling;
  }

  /** The page goes away: a beacon takes what fits. Nobody hears its answer, so
   *  the events stay queued and are sent again; the server knows their ids. */
  function farewell() {
    const events = batch(queue(), BEACON_BYTES);
    if (!endpoint || events.length === 0 || !root.navigator.sendBeacon) return;
    root.navigator.sendBeacon(address(), JSON.stringify({ events }));
  }

  if (root.document && root.addEventListener) {
    root.addEventListener("pagehide", farewell);
    root.document.addEventListener("visibilitychange", () => { if (root.document.visibilityState === "hidden") farewell(); });
  }
  if (queue().length > 0) schedule(0);

  return {
    track, page, identify, flush, userId, sessionId,
    /** Where to send, if the script tag did not say. */
    configure(settings) {
      endpoint = settings.endpoint || endpoint;
      writeKey = settings.writeKey || writeKey;
      if (queue().length > 0) schedule(0);
    },
    /** How many events wait. */
    pending() { return queue().length; },
    /** Calls back with (kind, event, result): queued, ok, drop or overflow. */
    onEvent(listener) { listeners.push(listener); },
  };
});
