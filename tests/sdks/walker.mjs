// What the walks of Node's SDKs share: the calls of walk.json, and how a walk
// talks with the test. Halfway it says {"paused":true} and waits for a line;
// then it calls on, says {"called":true}, waits for what the SDK says of every
// call, and prints {"calls":[{call, id, failed}, …]}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { context, before, after } = JSON.parse(readFileSync(new URL("walk.json", import.meta.url)));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => console.log(JSON.stringify(what));

/** The package that install.sh laid out in `packages`, as it is published. */
export const published = (packages, name) => createRequire(join(packages, "package.json"))(name);

/**
 * Walks: `call(message, type)` hands one call to the SDK, and its promise is kept with the messageId once the SDK
 * says that it is delivered, and broken when the SDK gives up. `visitor` keeps this walk's user apart.
 */
export async function walk(visitor, call) {
  const told = [];
  const make = ({ type, page, ...message }, identified) => {
    const url = new URL(page.url);
    const ids = identified ? { userId: `${visitor}-ada`, anonymousId: visitor } : { anonymousId: visitor };
    const properties = type === "identify" ? {} : { properties: { ...message.properties, ...(type === "page" ? { ...page, path: url.pathname } : {}) } };
    const whole = { ...message, ...ids, ...properties, context: { ...context, page: { ...page, path: url.pathname, search: url.search } } };
    const named = message.event || type;
    told.push(call(whole, type).then((id) => ({ call: named, id, failed: null }), (error) => ({ call: named, id: error.id ?? null, failed: error.message })));
  };
  before.forEach((each) => make(each, false));
  say({ paused: true });
  await lines.next();
  after.forEach((each) => make(each, true));
  say({ called: true });
  say({ calls: await Promise.all(told) });
}
