//! A call's `context`, by what becomes of its parts.

use crate::fields::Fields;
use crate::metadata::{Builder, object};
use crate::value::{is_empty, text};
use freshet_events::{IP_ADDRESS, Rejection, USER_AGENT};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What RudderStack's browser SDK writes for "no referrer".
const DIRECT: &str = "$direct";

/// The context of a call, what its batch says filled in. What is taken out is
/// not kept a second time.
pub(crate) struct Context<'a> {
    fields: Fields<'a>,
    page: Fields<'a>,
}

impl<'a> Context<'a> {
    /// Of a call's own context and its batch's.
    pub(crate) fn of(
        own: Option<&'a RawValue>,
        batch: Option<&'a RawValue>,
    ) -> Result<Self, Rejection> {
        let mut fields = Fields::open("context", own)?;
        fields.fill(Fields::open("the batch's context", batch)?);
        let is_object = |page: &&RawValue| page.get().starts_with('{');
        let page = match fields.get("page").filter(is_object) {
            Some(page) => {
                fields.take("page");
                Fields::open("context.page", Some(page))?
            }
            None => Fields::default(),
        };
        Ok(Self { fields, page })
    }

    /// The fields of `page`.
    pub(crate) const fn page_mut(&mut self) -> &mut Fields<'a> {
        &mut self.page
    }

    /// The name of the library that made the call.
    pub(crate) fn library(&self) -> Option<Cow<'a, str>> {
        let library = Fields::lenient(self.fields.get("library"));
        library.get("name").and_then(text)
    }

    /// RudderStack's session.
    pub(crate) fn take_session(&mut self) -> Option<&'a RawValue> {
        self.fields.take("sessionId")
    }

    /// The traits of the user, if there are any.
    pub(crate) fn take_traits(&mut self) -> Option<&'a RawValue> {
        self.fields
            .take("traits")
            .filter(|traits| !is_empty(traits))
    }

    /// Writes what is left of it.
    pub(crate) fn write(mut self, metadata: &mut Builder<'a>) {
        if let Some(user_agent) = take_text(&mut self.fields, "userAgent") {
            metadata.ours(USER_AGENT, user_agent.get());
        }
        // No address is kept, of whatever type.
        let address = self.fields.take("ip");
        if let Some(address) = address.filter(|ip| text(ip).is_some_and(|ip| !ip.is_empty())) {
            metadata.ours(IP_ADDRESS, address.get());
        }
        if let Some(locale) = take_text(&mut self.fields, "locale") {
            metadata.ours("locale", locale.get());
        }
        for name in ["campaign", "screen"] {
            if let Some(value) = self.fields.take(name).filter(|value| !is_empty(value)) {
                metadata.ours(name, value.get());
            }
        }
        self.fields.retain(|_, value| !is_empty(value));
        self.page.retain(|_, value| !is_empty(value));
        let page = object(self.page.iter().map(|(name, value)| (name, value.get())));
        let rest = self.fields.iter().map(|(name, value)| (name, value.get()));
        if !self.page.is_empty() {
            metadata.ours("context", object(rest.chain([("page", page.as_str())])));
        } else if !self.fields.is_empty() {
            metadata.ours("context", object(rest));
        }
    }
}

/// Takes text out that is not empty. Empty text is taken out too; other values
/// stay.
pub(crate) fn take_text<'a>(fields: &mut Fields<'a>, name: &str) -> Option<&'a RawValue> {
    let value = fields.get(name)?;
    let text = text(value)?;
    let says_something = !text.is_empty() && text != DIRECT;
    fields.take(name);
    says_something.then_some(value)
}
