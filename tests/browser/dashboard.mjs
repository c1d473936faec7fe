// Opens the dashboard page, waits until every panel of both dashboards has
// drawn something, takes pictures, and prints each panel's state.
//   node --experimental-websocket dashboard.mjs DASHBOARD_URL PICTURES_FOLDER
import { sleep, until, withBrowser } from "./browser.mjs";

const [url, pictures] = process.argv.slice(2);
const BOARDS = { dashboard: "realtime-clickstream-dashboard", "data-quality": "freshet-data-quality" };

/** Every card's own words, and whether its canvas has more than one colour. */
const CARDS = `Object.fromEntries([...document.querySelectorAll("#grid .card")].map((card) => {
  const canvas = card.querySelector("canvas");
  const pixels = canvas && new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return [card.id, { state: card.dataset.state, total: Number(card.dataset.total), from: Number(card.dataset.from), to: Number(card.dataset.to), value: card.dataset.value, text: card.innerText,
    label: card.querySelector("[role=img]")?.getAttribute("aria-label"), colors: pixels ? new Set(pixels).size : null }];
}))`;

await withBrowser(pictures, async (tab) => {
  const screen = (width, height, mobile = false) => tab.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
  const theme = (value) => tab.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  const height = () => tab.evaluate("Math.ceil(document.documentElement.scrollHeight)");
  const full = async (name, width, mobile) => {
    await screen(width, await height(), mobile);
    await sleep(700); // charts take their new size, and settle
    await tab.picture(name);
  };
  const boards = {};
  for (const [name, id] of Object.entries(BOARDS)) {
    await theme("light");
    await screen(1440, 1200);
    await tab.call("Page.navigate", { url: `${url}#${id}` });
    await until(`${name} to draw`, async () => {
      const cards = Object.values(await tab.evaluate(CARDS));
      return cards.length > 0 && cards.every(({ state }) => state === "drawn") && tab.evaluate(`document.querySelector("#tab-${id}").ariaSelected === "true"`);
    }).catch(async (error) => {
      await tab.picture(`${name}-failed`);
      throw new Error(`${error.message}\n${JSON.stringify(await tab.evaluate(CARDS), null, 1)}\n${tab.problems.join("\n")}`);
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
  // A second round of answers changes what is there, and draws nothing anew.
  await screen(1440, 1200);
  const before = await tab.evaluate(`(document.querySelectorAll("#grid canvas").forEach((c) => { c.dataset.same = 1; }), Number(document.body.dataset.round))`);
  await until("another round", async () => (await tab.evaluate("Number(document.body.dataset.round)")) > before);
  const kept = await tab.evaluate(`[...document.querySelectorAll("#grid canvas")].every((c) => c.dataset.same === "1")`);
  if (tab.problems.length > 0) throw new Error(tab.problems.join("\n"));
  console.log(JSON.stringify({ boards, kept, notice: await tab.evaluate(`document.querySelector("#notice").hidden`), status: await tab.evaluate(`document.querySelector("#status").className`) }));
});
