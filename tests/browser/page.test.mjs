// What the dashboard page makes of answers, and of the outline of the world.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const text = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
/** The page's own file: a module, though no package says so. */
const load = (name) => import(`data:text/javascript,${encodeURIComponent(text(`demo/dashboard/${name}`))}`);
const { ems, lone, rows, series, share, summary, wrapped, written } = await load("panels.js");
const { land } = await load("world.js");
const { asAnswer, caption, nothing } = await load("live.js");

const MINUTE = 60_000;
const count = { id: "1", type: "count", schema: "metric", params: {} };
const minutes = { id: "2", type: "date_histogram", schema: "segment", params: { field: "@timestamp" } };
const found = (aggregations, value = 9) => ({ from: 30_000, to: 4 * MINUTE + 1, answer: { hits: { total: { value } }, aggregations } });

test("numbers are written as the index pattern says", () => {
  assert.equal(written(1234), "1,234");
  assert.equal(written(1234.5), "1,234.50");
  assert.equal(written(1234.56, { id: "number", params: { pattern: "0,0" } }), "1,235");
  assert.equal(written(0.3756, { id: "percent", params: { pattern: "0.0%" } }), "37.6%");
  assert.equal(written(null), "–");
});

test("a minute without events is 0 for a count and nothing for a percentile; the first, cut one is left out", () => {
  const buckets = [{ key: 0, doc_count: 5 }, { key: 2 * MINUTE, doc_count: 7 }];
  const [line] = series({ kind: "line", aggs: [count, minutes] }, found({ 2: { buckets } }));
  assert.deepEqual(line.points, [[MINUTE, 0], [2 * MINUTE, 7], [3 * MINUTE, 0], [4 * MINUTE, 0]]);

  const percentiles = { id: "1", type: "percentiles", schema: "metric", params: { field: "lag", percents: [50, 95] } };
  const of = (median, p95) => ({ values: [{ key: 50, value: median }, { key: 95, value: p95 }] });
  const lines = series({ kind: "line", aggs: [percentiles, minutes] }, found({ 2: { buckets: [{ key: MINUTE, doc_count: 1, 1: of(2, 3) }] } }));
  assert.deepEqual(lines.map(({ name, points }) => [name, points[0][1], points[1][1]]), [["p95", 3, null], ["median", 2, null]]);
});

test("a minute without neighbours is found, at the ends too", () => {
  const of = (...values) => lone(values.map((value, n) => [n, value])).map(([n]) => n);
  assert.deepEqual(of(1, null, 2, 3, null, 4, null, null, 0), [0, 5, 8]);
  assert.deepEqual(of(1, 2), []);
  assert.deepEqual(of(null, 1), [1]);
});

test("a share is never written as nothing if it is there, nor as all if it is not", () => {
  const of = (part, whole) => share(part, whole);
  assert.deepEqual([of(0, 9), of(1, 6002), of(6001, 6002), of(3, 1000), of(994, 1000), of(1, 3), of(9, 9)], ["0%", "<0.1%", ">99.9%", "0.3%", "99.4%", "33%", "100%"]);
});

test("a legend wraps when its row is full, and what is wider than a row has one", () => {
  assert.equal(wrapped([], 100, 6), 0);
  assert.equal(wrapped([47, 47], 100, 6), 1);
  assert.equal(wrapped([47, 48], 100, 6), 2);
  assert.equal(wrapped([130, 130, 20], 100, 6), 3);
});

test("a longer number is given less of the card for each digit", () => {
  assert.ok(ems("123,463,979.50") > ems("1,234.50") && ems("11") > ems("1."));
});

test("a split line is one for each name", () => {
  const split = { id: "3", type: "terms", schema: "group", params: { field: "event_type" } };
  const names = (...pairs) => ({ buckets: pairs.map(([key, doc_count]) => ({ key, doc_count })) });
  const buckets = [{ key: MINUTE, doc_count: 4, 3: names(["view", 3], ["buy", 1]) }, { key: 2 * MINUTE, doc_count: 2, 3: names(["view", 2]) }];
  const panel = { kind: "line", title: "Events", aggs: [count, minutes, split] };
  assert.deepEqual(series(panel, found({ 2: { buckets } })).map(({ name, points }) => [name, ...points.map(([, value]) => value)]), [["view", 3, 2, 0, 0], ["buy", 1, 0, 0, 0]]);
  assert.match(summary(panel, found({ 2: { buckets } })), /view 0, buy 0/);
});

test("rows are the leaves of nested terms, with a name for what is missing", () => {
  const sum = { id: "1", type: "sum", schema: "metric", params: { field: "count", customLabel: "Events" } };
  const terms = (id, more = {}) => ({ id, type: "terms", schema: "bucket", params: { field: "x", ...more } });
  const inner = { buckets: [{ key: "__missing__", doc_count: 1, 1: { value: 4 } }, { key: 2, doc_count: 1, 1: { value: 3 } }] };
  const all = rows({ aggs: [sum, terms("2"), terms("3", { missingBucketLabel: "Direct" })] }, found({ 2: { buckets: [{ key: "collect", doc_count: 2, 3: inner }] } }));
  assert.deepEqual(all.map(({ names, values }) => [...names, values[0].label, values[0].value]), [["collect", "Direct", "Events", 4], ["collect", "2", "Events", 3]]);
});

test("filters keep the panel's order", () => {
  const filters = { id: "2", type: "filters", schema: "segment", params: { filters: [{ label: "landing", input: {} }, { label: "", input: { query: "a:b" } }] } };
  const all = rows({ aggs: [count, filters] }, found({ 2: { buckets: { "a:b": { doc_count: 1 }, landing: { doc_count: 8 } } } }));
  assert.deepEqual(all.map(({ names, values }) => [names[0], values[0].value]), [["landing", 8], ["a:b", 1]]);
});

test("a live funnel is drawn as the panel's own answer would be, its shares of all users", () => {
  const panel = JSON.parse(text("dashboards/panels/conversion-funnel.json"));
  const slot = {
    window: { start: "2026-11-25T17:55:00.000Z", end: "2026-11-25T18:00:00.000Z", seconds: 300 }, updated_at: "2026-11-25T17:59:58.120Z", approximate: false,
    result: {
      funnel_counts: { landing: 40, product_view: 61, add_to_cart: 12, checkout_start: 6, purchase: 4 },
      conversion_rates: { landing_rate: 1, product_view_rate: 1 / 3, add_to_cart_rate: 0.25641025641025644, checkout_start_rate: 0, purchase_rate: 0 },
      total_users_in_funnel: 39,
    },
  };
  const data = asAnswer(panel, slot);
  assert.deepEqual([data.to - data.from, data.of], [300_000, 39]);
  assert.deepEqual(rows(panel, data).map(({ names, values }) => [names[0], values[0].value]), [["landing", 39], ["product_view", 13], ["add_to_cart", 10], ["checkout_start", 0], ["purchase", 0]]);

  const at = (more) => caption(slot, Date.parse(slot.updated_at) + more);
  assert.match(at(17_000), /^5 minutes, \d\d:55–\d\d:00 · 17 s old · nothing since$/);
  assert.match(at(16_000), /16 s old$/);
  assert.match(at(-9_000), /0 s old$/);
  assert.match(caption({ ...slot, approximate: true }, Date.parse(slot.updated_at) + 180_000), /3 min old · approximate · nothing since$/);
});

test("a funnel of nobody is empty and not broken", () => {
  const panel = JSON.parse(text("dashboards/panels/conversion-funnel.json"));
  const of = asAnswer(panel, { window: {}, result: { funnel_counts: { landing: 0 }, conversion_rates: {}, total_users_in_funnel: 0 } });
  assert.deepEqual([of.answer.hits.total.value, rows(panel, of)[0].values[0].value, nothing(5).answer.hits.total.value], [0, 0, 0]);
});

test("no land crosses the date line, and none is lost there", () => {
  const [{ geometry }] = land(JSON.parse(text("dashboards/land-110m.json"))).features;
  const rings = geometry.coordinates.flat();
  assert.ok(rings.length > 120, `${rings.length} rings`);
  for (const ring of rings) {
    ring.forEach(([x, y], n) => {
      assert.ok(Math.abs(x) <= 180.001 && Math.abs(y) <= 90, `${x}, ${y}`);
      const step = n ? Math.abs(x - ring[n - 1][0]) : 0;
      // Only along the bottom of the map, under Antarctica, is there a longer line.
      assert.ok(step < 180 || y < -80, `a line of ${step}° at ${y}`);
    });
  }
  const near = (x, low, high) => rings.some((ring) => ring.some(([lon, lat]) => Math.abs(lon - x) < 0.01 && lat > low && lat < high));
  assert.ok(near(180, 64, 72) && near(-180, 64, 72), "Chukotka lies on both sides");
});
