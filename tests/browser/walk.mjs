// A person with a browser: clicks through the shop from the landing page to a
// purchase, and prints what the browser says it sent.
//   node --experimental-websocket walk.mjs SHOP_URL PICTURES_FOLDER
import { until, withBrowser } from "./browser.mjs";

const [shop, pictures] = process.argv.slice(2);

await withBrowser(pictures, async (tab) => {
  const at = (path) => until(`the page ${path}`, () =>
    tab.evaluate(`location.pathname === ${JSON.stringify(path)} && document.readyState === "complete" && typeof freshet === "object"`));
  /** A real click, where a person would see the thing. */
  const click = async (selector) => {
    await until(selector, () => tab.evaluate(`document.querySelector(${JSON.stringify(selector)}) !== null`));
    const [x, y] = await tab.evaluate(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: "center" });
      const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`);
    for (const type of ["mousePressed", "mouseReleased"]) await tab.call("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
  };

  await tab.call("Page.navigate", { url: `${shop}/` });
  await at("/");
  await tab.picture("landing");
  await click("#browse");
  await at("/products");
  await tab.picture("products");
  await click('a[href="/product/river-stone-mug"]');
  await at("/product/river-stone-mug");
  await click("#add");
  await tab.picture("product");
  await click('nav a[href="/cart"]');
  await at("/cart");
  await tab.picture("cart");
  await click("#to-checkout");
  await at("/checkout");
  await tab.picture("checkout");
  await click("#buy");
  await at("/thanks");
  await until("the queue to be empty", () => tab.evaluate("freshet.pending() === 0"));
  await tab.picture("thanks");
  await tab.call("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 2, mobile: true });
  await tab.picture("phone");
  console.log(await tab.evaluate(`JSON.stringify({
    user_id: freshet.userId(), session_id: freshet.sessionId(),
    event_ids: JSON.parse(localStorage.getItem("shop.sent")), amount: JSON.parse(localStorage.getItem("shop.order")).amount })`));
});
