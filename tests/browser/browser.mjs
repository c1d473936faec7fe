// A browser that does what it is told. It speaks the DevTools protocol itself:
// no package, no browser download. CHROMIUM names the browser; else Debian's.
// Needs `node --experimental-websocket` before Node 22.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for a condition; one that throws does not hold yet. */
export async function until(what, condition) {
  for (let n = 0; n < 600; n += 1) {
    if (await condition().catch(() => false)) return;
    await sleep(50);
  }
  throw new Error(`not in time: ${what}`);
}

/** The address that the browser says it listens on. */
function listening(browser) {
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

/** A tab that can be told what to do; its pictures go into the folder. */
async function openTab(browser, pictures) {
  const { host } = new URL(await listening(browser));
  const tabs = await (await fetch(`http://${host}/json`)).json();
  const socket = new WebSocket(tabs.find((tab) => tab.type === "page").webSocketDebuggerUrl);
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
  const waiting = new Map();
  const problems = [];
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error, method, params } = JSON.parse(data);
    if (method === "Runtime.exceptionThrown") problems.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
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
  /** What is on the screen; `options` as of Page.captureScreenshot. */
  const picture = async (name, options = {}) => {
    const { data } = await call("Page.captureScreenshot", { format: "png", ...options });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
  };
  await call("Page.enable");
  await call("Runtime.enable");
  return { call, evaluate, picture, problems };
}

/** Removes a folder that somebody may be writing to for a moment more. */
async function remove(folder) {
  for (let n = 0; ; n += 1) {
    try { return rmSync(folder, { recursive: true, force: true }); } catch (error) { if (n === 50) throw error; }
    await sleep(100);
  }
}

/** What this browser calls itself with a window, where nobody is told that it is headless. */
function agentWithWindow(program) {
  const said = execFileSync(program, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const major = /\b(\d+)\.\d/.exec(said)?.[1];
  if (!major) throw new Error(`no version of the browser in ${JSON.stringify(said)}`);
  return `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${major}.0.0.0 Safari/537.36`;
}

/**
 * Opens a browser, does `work(tab)`, and ends with 1 if that failed. Nothing of the browser stays.
 * It calls itself what a person's does, as a headless one's events are a bot's (docs/bots.md); with
 * `headlessAgent` it says what it is.
 */
export async function withBrowser(pictures, work, { headlessAgent = false } = {}) {
  const program = process.env.CHROMIUM || "chromium";
  const profile = mkdtempSync(join(tmpdir(), "freshet-browser-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1200,900", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  if (!headlessAgent) flags.unshift(`--user-agent=${agentWithWindow(program)}`);
  const browser = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe"] });
  let code = 0;
  const tab = await openTab(browser, pictures).catch((error) => { console.error(error.stack); code = 1; });
  if (tab) await work(tab).catch((error) => { console.error(error.stack); code = 1; });
  browser.removeAllListeners("exit");
  const ended = browser.exitCode === null ? new Promise((done) => browser.once("exit", done)) : undefined;
  // Told to close, it waits for its own children; killed, they would go on writing.
  tab?.call("Browser.close").catch(() => {});
  await Promise.race([ended, sleep(tab ? 10_000 : 0)]);
  browser.kill("SIGKILL");
  await ended;
  await remove(profile);
  process.exit(code);
}
