//! A call's own facts: `properties`, or `traits` of identify and group.

use crate::call_type::CallType;
use crate::context::{Context, take_text};
use crate::fields::Fields;
use crate::metadata::Builder;
use crate::value::{is_empty, number, text};
use freshet_events::{Limits, is_web_url};
use serde_json::value::RawValue;

/// The event type of a track call that earns something.
const PURCHASE: &str = "purchase";
/// The event type of a track call that looks for something.
const SEARCH: &str = "search";

/// What a purchase earns is the first of these that is a number.
const AMOUNTS: [&str; 3] = ["revenue", "total", "value"];

/// What the page was: title and referrer go to the metadata, its URL is the
/// event's. A page call says it in its properties, others in their context.
pub(crate) fn page_url<'a>(
    call_type: CallType,
    properties: &mut Fields<'a>,
    context: &mut Context<'a>,
    metadata: &mut Builder<'a>,
) -> Option<String> {
    let page = context.page_mut();
    let is_page = call_type == CallType::Page;
    if is_page {
        // SDKs say everything twice.
        let same = |name: &str, value: &RawValue| {
            let said = properties.get(name);
            said.is_some_and(|said| said.get() == value.get())
        };
        page.retain(|name, value| !same(name, value));
    }
    for key in ["title", "referrer"] {
        let own = is_page.then(|| take_text(properties, key)).flatten();
        if let Some(value) = own.or_else(|| take_text(page, key)) {
            metadata.ours(key, value.get());
        }
    }
    let own = is_page.then(|| take_url(properties)).flatten();
    own.or_else(|| take_url(page))
}

/// Takes `url` out if an event may have it; it stays if not.
fn take_url(fields: &mut Fields<'_>) -> Option<String> {
    let url = text(fields.get("url")?)?;
    if url.len() > Limits::DEFAULT.max_page_url_bytes || !is_web_url(&url) {
        return None;
    }
    fields.take("url");
    Some(url.into_owned())
}

/// The `name` and `category` of a page or screen.
pub(crate) fn name_and_category<'a>(
    name_key: &'static str,
    call: &Fields<'a>,
    properties: &mut Fields<'a>,
    metadata: &mut Builder<'a>,
) {
    // Beside a property of that name, what the index does not take of the
    // call's own is displaced under another.
    for (key, field, of_call) in [
        (name_key, "name", "call_name"),
        ("category", "category", "call_category"),
    ] {
        let given = call.get(field).filter(|value| !is_empty(value));
        let said = properties.get(field);
        let same = match (given, said) {
            (Some(given), Some(said)) => given.get() == said.get(),
            (given, _) => given.is_none(),
        };
        let name = if !same && said.is_some() {
            of_call
        } else {
            field
        };
        let said = if same { properties.take(field) } else { None };
        if let Some(value) = given.or(said.filter(|value| !is_empty(value))) {
            metadata.renamed(key, name, value);
        }
    }
}

/// What the properties of Segment's e-commerce events are called here.
pub(crate) fn commerce<'a>(
    event_type: &str,
    properties: &mut Fields<'a>,
    metadata: &mut Builder<'a>,
) {
    if event_type == PURCHASE {
        let is_number = |name: &&&str| properties.get(name).and_then(number).is_some();
        if let Some(name) = AMOUNTS.iter().find(is_number)
            && let Some(value) = properties.take(name)
        {
            metadata.ours("amount", value.get());
        }
    }
    let mut rename = |key, name| rename(properties, metadata, key, name);
    rename("order_id", "orderId");
    let is_product = rename("product_id", "productId") || rename("product_id", "sku");
    if event_type == SEARCH {
        rename("search_query", "query");
    }
    if is_product || properties.get("product_id").is_some() {
        self::rename(properties, metadata, "product_name", "name");
    }
}

/// Sets the property `name` under `key`, if the client has not set `key`.
fn rename<'a>(
    properties: &mut Fields<'a>,
    metadata: &mut Builder<'a>,
    key: &'static str,
    name: &'static str,
) -> bool {
    if properties.get(key).is_some() || metadata.has(key) {
        return false;
    }
    let Some(value) = properties.take(name) else {
        return false;
    };
    properties.take(key); // it was null
    metadata.renamed(key, name, value);
    true
}
