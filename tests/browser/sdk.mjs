// A person in the demo shop's page for an SDK, from the landing page to a
// purchase. Talks with the test as tests/sdks/walker.mjs does; as the browser
// must stay open until everything is delivered, it waits for a last line.
// With `refused`, it goes only as far as an SDK needs to be told no.
//   node --experimental-websocket sdk.mjs PAGE_URL PICTURES_FOLDER [refused]
import { createInterface } from "node:readline";
import { sleep, until, withBrowser } from "./browser.mjs";

const [page, pictures, refused] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => console.log(JSON.stringify(what));
const sdk = new URL(page).pathname.slice(1);

await withBrowser(pictures, async (tab) => {
  const click = async (id) => {
    await until(id, () => tab.evaluate(`document.getElementById("${id}") !== null`));
    await tab.evaluate(`document.getElementById("${id}").click()`);
  };
  const heard = (count) => until(`the SDK to speak of ${count} calls`, () => tab.evaluate(`walked.filter(({ call }) => call !== "queue").length >= ${count}`));

  await tab.call("Page.navigate", { url: page });
  await click("browse");
  await click("add");
  if (refused) {
    await until("the SDK to say no", () => tab.evaluate(`walked.some(({ kind }) => kind === "drop")`));
    await sleep(2000); // would it ask again?
    await tab.picture(`${sdk}-refused`);
    return say({ calls: JSON.parse(await tab.evaluate("JSON.stringify(walked)")), problems: tab.problems });
  }
  await heard(4);
  await tab.picture(`${sdk}-product`);
  say({ paused: true });
  await lines.next();
  await click("to-cart");
  await click("to-checkout");
  await click("buy");
  await heard(10);
  say({ called: true });
  await lines.next();
  // RudderStack's queue is its own word for what is delivered.
  await until("an empty queue", () => tab.evaluate("typeof waiting !== 'function' || waiting() === 0"));
  await tab.picture(`${sdk}-thanks`);
  const { walked, amount } = JSON.parse(await tab.evaluate(`JSON.stringify({ walked, amount: JSON.parse(localStorage.getItem("shop.order")).amount })`));
  const calls = walked.filter(({ call }) => call !== "queue").map(({ call, id, words, kind }) => ({ call, id, failed: kind === "ok" ? null : words }));
  say({ calls, amount, problems: tab.problems });
});
