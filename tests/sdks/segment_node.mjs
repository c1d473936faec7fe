// A walk through a shop, told by @segment/analytics-node. See walker.mjs.
//   node segment_node.mjs PACKAGES ENDPOINT WRITE_KEY
import { published, walk } from "./walker.mjs";

const [packages, endpoint, writeKey] = process.argv.slice(2);
const { Analytics } = published(packages, "@segment/analytics-node");
// Small batches, soon: nothing else is changed.
const analytics = new Analytics({ writeKey, host: endpoint, flushAt: 5, flushInterval: 200 });
analytics.on("error", () => {}); // every call hears of its own failure

await walk("segment-node", (message, type) => new Promise((delivered, failed) => {
  analytics[type](message, (error, context) => {
    if (error) failed(Object.assign(new Error(String(error.message || error)), { id: context?.event.messageId }));
    else delivered(context.event.messageId);
  });
}));
await analytics.closeAndFlush();
process.exit();
