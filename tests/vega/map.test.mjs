// The map's Vega specification, compiled and drawn by Vega itself with an answer
// as OpenSearch gives it: import would accept one that draws nothing.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const installed = createRequire(join(process.env.FRESHET_VEGA, "package.json"));
const vega = await import(pathToFileURL(installed.resolve("vega")));
const objects = readFileSync(new URL("../../dashboards/freshet.ndjson", import.meta.url), "utf8").trim().split("\n").map((line) => JSON.parse(line));
const answer = JSON.parse(readFileSync(new URL("cells.json", import.meta.url)));

/** The marks that a specification draws, after `change`. */
async function marks(change = () => {}) {
  const panel = objects.find(({ id }) => id === "freshet-activity-map");
  const spec = JSON.parse(JSON.parse(panel.attributes.visState).params.spec);
  const search = spec.data.find(({ url }) => url);
  // Dashboards puts the answer in the place of the search, and its panel's size in.
  delete search.url;
  Object.assign(search, { values: structuredClone(answer) });
  Object.assign(spec, { width: 900, height: 380 });
  change(spec);
  const view = await new vega.View(vega.parse(spec), { renderer: "none", logLevel: vega.Error }).runAsync();
  const [land, cells] = view.scenegraph().root.items[0].items;
  return { land: land.items, cells: cells.items, svg: await view.toSVG() };
}

test("every cell is a mark within the panel, on the land", async () => {
  const { land, cells, svg } = await marks();
  assert.equal(land.length, 1);
  assert.equal(cells.length, answer.aggregations.visitors.cells.buckets.length);
  for (const { x, y, size, fill } of cells) {
    assert.ok(x > 0 && x < 900 && y > 0 && y < 380 && size >= 20 && size <= 900 && fill, `${x} ${y} ${size} ${fill}`);
  }
  const [berlin, sydney, mexico] = cells;
  assert.ok(mexico.x < berlin.x && berlin.x < sydney.x && berlin.y < mexico.y && mexico.y < sydney.y);
  assert.ok(berlin.size > sydney.size);
  assert.ok(svg.length > 50_000, `the coast is drawn in ${svg.length} bytes`);
});

test("the check can fail", async () => {
  await assert.rejects(marks((spec) => { spec.data[0].format.property = "aggregations.visitors.c.buckets"; }));
  const { cells } = await marks((spec) => { spec.data[0].transform[0].fields[0].expr = "datum.middle.lon"; });
  assert.ok(cells.every(({ x }) => !(x > 0 && x < 900)));
  await assert.rejects(marks((spec) => { spec.marks[1].from.data = "nothing"; }));
});
