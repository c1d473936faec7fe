// Opens the dashboard page and prints the state of every panel.
//   node --experimental-websocket dashboard.mjs DASHBOARD_URL PICTURES_FOLDER [drawn|empty|failed]
// drawn (the default) waits until every panel of both dashboards has drawn
// something, and takes pictures; empty waits for the page's word that there is
// nothing, failed for its word that nobody answers.
import { sleep, until, withBrowser } from "./browser.mjs";

const [url, pictures, expected = "drawn"] = process.argv.slice(2);
const BOARDS = { dashboard: "realtime-clickstream-dashboard", "data-quality": "freshet-data-quality" };

/** Every card's own words, and how many colours its canvas has. */
const CARDS = `Object.fromEntries([...document.querySelectorAll("#grid .card")].map((card) => {
  const canvas = card.querySelector("canvas");
  const pixels = canvas && new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return [card.id, { state: card.dataset.state, total: Number(card.dataset.total), from: Number(card.dataset.from), to: Number(card.dataset.to), value: card.dataset.value, live: card.dataset.live === "true", caption: card.querySelector(".liveline p")?.textContent,
    text: card.innerText, label: card.querySelector("[role=img]")?.getAttribute("aria-label"), colors: pixels ? new Set(pixels).size : null }];
}))`;
const PAGE = `({ notice: document.querySelector("#notice").innerText, status: document.querySelector("#status").className, range: document.querySelector("#ranges input:checked").value })`;

await withBrowser(pictures, async (tab) => {
  const screen = (width, height, mobile = false) => tab.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
  const theme = (value) => tab.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  const full = async (name, width, mobile) => {
    await screen(width, 1200, mobile); // the page's height is that of this width
    await screen(width, await tab.evaluate("document.documentElement.scrollHeight"), mobile);
    await sleep(700); // charts take their new size, and settle
    await tab.picture(name);
  };
  const print = (more) => console.log(JSON.stringify(more));
  /** Waits for it; fails with a picture and everything that the page says. */
  const reach = (what, condition) => until(what, condition).catch(async (error) => {
    await tab.picture("not-reached");
    throw new Error([error.message, JSON.stringify(await tab.evaluate(PAGE)), JSON.stringify(await tab.evaluate(CARDS), null, 1), ...tab.problems].join("\n"));
  });
  const open = async (id) => {
    await theme("light");
    await screen(1440, 1200);
    await tab.call("Page.navigate", { url: `${url}#${id}` });
    await reach(id, () => tab.evaluate(`document.querySelector("#tab-${id}").ariaSelected === "true"`));
  };

  if (expected !== "drawn") {
    await open(BOARDS.dashboard);
    const status = { empty: "live", failed: "failed" }[expected];
    await reach(expected, async () => {
      const page = await tab.evaluate(PAGE);
      return page.status === status && page.notice !== "";
    });
    await tab.picture(expected);
    return print({ ...await tab.evaluate(PAGE), cards: await tab.evaluate(CARDS) });
  }

  const boards = {};
  for (const [name, id] of Object.entries(BOARDS)) {
    await open(id);
    await reach(`${name} to draw`, async () => {
      const cards = Object.values(await tab.evaluate(CARDS));
      return cards.length > 0 && cards.every(({ state }) => state === "drawn");
    });
    await full(name, 1440);
    boards[name] = await tab.evaluate(CARDS);
    if (name === "dashboard") {
      // The README's: the first half, down to revenue.
      const bottom = await tab.evaluate(`Math.round(document.querySelector("#freshet-revenue-per-minute").getBoundingClientRect().bottom + scrollY)`);
      await tab.picture("readme", { clip: { x: 0, y: 0, width: 1440, height: bottom + 6, scale: 1 } });
    }
    await theme("dark");
    await full(`${name}-dark`, 1440);
    await theme("light");
    await full(`${name}-phone`, 390, true);
    const width = await tab.evaluate("document.documentElement.scrollWidth");
    if (width > 390) throw new Error(`${name} is ${width} px wide on a phone of 390`);
  }
  await open(BOARDS.dashboard);
  await reach("all of it again", async () => Object.values(await tab.evaluate(CARDS)).every(({ state }) => state === "drawn"));
  // Another round, of another time range, changes what is there and draws nothing anew.
  await tab.evaluate(`document.querySelectorAll("#grid canvas").forEach((canvas) => { canvas.dataset.same = "yes"; })`);
  await tab.evaluate(`document.querySelector('#ranges input[value="1h"]').click()`);
  // The live funnel is of its own window, until it is told to be of the range.
  const isHour = ({ from, to }) => to - from === 3_600_000;
  await reach("the hour", async () => Object.values(await tab.evaluate(CARDS)).every((card) => card.live !== isHour(card)));
  await tab.evaluate(`document.querySelector("#freshet-conversion-funnel .liveline button").click()`);
  await reach("the funnel's hour", async () => Object.values(await tab.evaluate(CARDS)).every((card) => !card.live && isHour(card) && card.state === "drawn"));
  const kept = await tab.evaluate(`[...document.querySelectorAll("#grid canvas")].every((canvas) => canvas.dataset.same === "yes")`);
  if (tab.problems.length > 0) throw new Error(tab.problems.join("\n"));
  print({ boards, kept, ...await tab.evaluate(PAGE) });
});
