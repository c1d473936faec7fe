//! End to end: every test starts a stack of its own - the real OpenSearch, the
//! AWS emulator, the deployed template and the unmodified bootstraps - does
//! what users and bad days do, and looks at what is in the stores.

mod aggregation;
mod alarms;
mod browser;
mod calls;
mod chains;
mod dashboards;
mod everyday;
mod hostile;
mod killed;
mod noticed;
mod openapi;
mod outage;
mod provision;
mod refused;
mod replay;
mod resharding;
mod sdks;
mod sessions;
mod support;
mod top;
