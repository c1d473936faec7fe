// A person with a browser: clicks through the shop from the landing page to a
// purchase, and prints what the browser says it sent.
//   node --experimental-websocket walk.mjs SHOP_URL PICTURES_FOLDER
// It speaks the DevTools protocol itself: no package, no browser download.
// CHROMIUM names the browser; else Debian's.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [shop, pictures] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "freshet-browser-"));
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1200,900", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
const browser = spawn(process.env.CHROMIUM || "chromium", flags, { stdio: ["ignore", "ignore", "pipe"] });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The address that the browser says it listens on. */
function listening() {
  return new Promise((resolve, reject) => {
    let said = "";
    browser.on("error", reject);
    browser.on("exit", (code) => reject(new Error(`the browser ended (${code}):\n${said.slice(-2000)}`)));
    browser.stderr.on("data", (data) => {
      said += data;
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
  });
}

/** A tab that can be told what to do. */
async function openTab() {
  const { host } = new URL(await listening());
  const tabs = await (await fetch(`http://${host}/json`)).json();
  const socket = new WebSocket(tabs.find((tab) => tab.type === "page").webSocketDebuggerUrl);
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
  const waiting = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    if (!waiting.has(id)) return;
    const [done, failed] = waiting.get(id);
    waiting.delete(id);
    if (error) failed(new Error(error.message)); else done(result);
  };
  const call = (method, params = {}) => new Promise((done, failed) => {
    waiting.set((last += 1), [done, failed]);
    socket.send(JSON.stringify({ id: last, method, params }));
  });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description || exceptionDetails.text);
    return result.value;
  };
  return { call, evaluate };
}

async function until(what, condition) {
  for (let n = 0; n < 300; n += 1) {
    if (await condition().catch(() => false)) return;
    await sleep(50);
  }
  throw new Error(`not in time: ${what}`);
}

async function main() {
  const tab = await openTab();
  await tab.call("Page.enable");
  const at = (path) => until(`the page ${path}`, () =>
    tab.evaluate(`location.pathname === ${JSON.stringify(path)} && document.readyState === "complete" && typeof freshet === "object"`));
  const picture = async (name) => {
    const { data } = await tab.call("Page.captureScreenshot", { format: "png" });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
  };
  /** A real click, where a person would see the thing. */
  const click = async (selector) => {
    await until(selector, () => tab.evaluate(`document.querySelector(${JSON.stringify(selector)}) !== null`));
    const [x, y] = await tab.evaluate(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: "center" });
      const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`);
    for (const type of ["mousePressed", "mouseReleased"]) await tab.call("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
  };

  await tab.call("Page.navigate", { url: `${shop}/` });
  await at("/");
  await picture("landing");
  await click("#browse");
  await at("/products");
  await picture("products");
  await click('a[href="/product/river-stone-mug"]');
  await at("/product/river-stone-mug");
  await click("#add");
  await picture("product");
  await click('nav a[href="/cart"]');
  await at("/cart");
  await picture("cart");
  await click("#to-checkout");
  await at("/checkout");
  await picture("checkout");
  await click("#buy");
  await at("/thanks");
  await until("the queue to be empty", () => tab.evaluate("freshet.pending() === 0"));
  await picture("thanks");
  await tab.call("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 2, mobile: true });
  await picture("phone");
  console.log(await tab.evaluate(`JSON.stringify({
    user_id: freshet.userId(), session_id: freshet.sessionId(),
    event_ids: JSON.parse(localStorage.getItem("shop.sent")), amount: JSON.parse(localStorage.getItem("shop.order")).amount })`));
}

let code = 0;
await main().catch((error) => { console.error(error.stack); code = 1; });
browser.removeAllListeners("exit");
browser.kill();
await new Promise((done) => browser.once("exit", done));
rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
process.exit(code);
