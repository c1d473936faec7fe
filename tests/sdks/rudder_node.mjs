// A walk through a shop, told by @rudderstack/rudder-sdk-node. See walker.mjs.
//   node rudder_node.mjs PACKAGES ENDPOINT WRITE_KEY
// Its three retries are over within two seconds: who expects outages asks for more.
import { randomUUID } from "node:crypto";
import { published, walk } from "./walker.mjs";

const [packages, endpoint, writeKey] = process.argv.slice(2);
const Analytics = published(packages, "@rudderstack/rudder-sdk-node");
const rudder = new Analytics(writeKey, {
  dataPlaneUrl: endpoint, flushAt: 5, flushInterval: 200, logLevel: "silly",
  retryCount: 100, axiosRetryConfig: { retryDelay: () => 1000 },
  errorHandler: () => {}, // every call hears of its own failure
});

await walk("rudder-node", (message, type) => new Promise((delivered, failed) => {
  const messageId = randomUUID(); // as the SDK would: it tells nobody which it chose
  rudder[type]({ ...message, messageId }, (error) => {
    if (error) failed(Object.assign(new Error(error.message), { id: messageId }));
    else delivered(messageId);
  });
}));
process.exit();
