//! What a call becomes: an event that has yet to be judged.

use crate::call_type::{CallType, Endpoint};
use crate::calls::Calls;
use crate::context::Context;
use crate::event_types::EventTypes;
use crate::fields::Fields;
use crate::identity::Identity;
use crate::metadata::Builder;
use crate::properties;
use crate::refuse;
use crate::sender::Sender;
use crate::times::Times;
use crate::value::{id, is_empty, not_unicode, text};
use freshet_events::{Code, Rejection, Timestamp, Translated, printable};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One call, translated.
#[derive(Clone)]
pub struct Draft {
    pub(crate) event_id: Option<String>,
    pub(crate) user_id: String,
    pub(crate) session_id: Option<String>,
    pub(crate) event_type: String,
    pub(crate) page_url: Option<String>,
    pub(crate) timestamp: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
    /// An object: keys that the mapping makes, then the client's own.
    pub(crate) metadata: Box<RawValue>,
    /// How many of metadata's first keys the mapping made.
    pub(crate) ours: usize,
    pub(crate) call_type: CallType,
    pub(crate) sender: Sender,
}

impl Draft {
    /// Translates one of `calls`. Lengths, age and metadata are judged by
    /// [`Event::translated`](freshet_events::Event::translated).
    ///
    /// # Errors
    /// The first thing that is wrong, at [`Stage::Collect`](freshet_events::Stage::Collect).
    pub fn of(
        call_json: &str,
        calls: &Calls<'_>,
        event_types: &EventTypes,
        received_at: Timestamp,
    ) -> Result<Self, Rejection> {
        let call = read(call_json)?;
        let call_type = call_type(&call, calls.endpoint)?;
        let identity = Identity::of(&call)?;
        let mut context = Context::of(call.get("context"), calls.context)?;
        let integrations = call.get("integrations").or(calls.integrations);
        let session_id = identity.session_id(&mut context, &Fields::lenient(integrations));
        let times = Times::of(&call, calls, received_at)?;
        let sender = Sender::of(&call, &context);

        let mut metadata = Builder::default();
        let event_type = event_type(call_type, &call, event_types, &mut metadata)?;
        if let Some(anonymous_id) = &identity.anonymous_id {
            metadata.text("anonymous_id", anonymous_id);
        }
        let other_id = match call_type {
            CallType::Alias => Some(("previous_id", "previousId")),
            CallType::Group => Some(("group_id", "groupId")),
            _ => None,
        };
        if let Some((key, field)) = other_id
            && let Some(id) = id(field, call.get(field))?
        {
            metadata.text(key, &id);
        }
        let mut own = own_facts(call_type, &call, &mut context, &mut metadata)?;
        let page_url = properties::page_url(call_type, &mut own, &mut context, &mut metadata);
        match call_type {
            CallType::Track => properties::commerce(&event_type, &mut own, &mut metadata),
            CallType::Page => {
                properties::name_and_category("page_name", &call, &mut own, &mut metadata);
            }
            CallType::Screen => {
                properties::name_and_category("screen_name", &call, &mut own, &mut metadata);
            }
            CallType::Identify | CallType::Group | CallType::Alias => {}
        }
        context.write(&mut metadata);
        for (name, value) in own.iter() {
            metadata.property(name, value);
        }
        let (metadata, ours) = metadata.finish()?;
        Ok(Self {
            event_id: id("messageId", call.get("messageId"))?,
            user_id: identity.user_id,
            session_id,
            event_type,
            page_url,
            timestamp: times.timestamp,
            sent_at: times.sent_at,
            metadata,
            ours,
            call_type,
            sender,
        })
    }

    /// What [`Event::translated`](freshet_events::Event::translated) judges.
    #[must_use]
    pub fn translated(&self) -> Translated<'_> {
        Translated {
            event_id: self.event_id.as_deref().map(Cow::Borrowed),
            user_id: Cow::Borrowed(&self.user_id),
            session_id: self.session_id.as_deref().map(Cow::Borrowed),
            event_type: Cow::Borrowed(&self.event_type),
            page_url: self.page_url.as_deref().map(Cow::Borrowed),
            timestamp: self.timestamp,
            sent_at: self.sent_at,
            metadata: Some(&self.metadata),
        }
    }

    /// Whether the HTTP request that brought the call came from the visitor's
    /// own device, so that its IP address and user agent are the visitor's.
    #[must_use]
    pub fn from_visitor(&self, request_user_agent: &str) -> bool {
        self.sender.is_device(request_user_agent)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("call_type", &self.call_type)
            .field("event_id", &self.event_id)
            .field("metadata_bytes", &self.metadata.get().len())
            .finish_non_exhaustive()
    }
}

fn read(json: &str) -> Result<Fields<'_>, Rejection> {
    let Some(call) = Fields::read(json) else {
        let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
        return Err(if is_json && !json.trim_ascii_start().starts_with('{') {
            refuse(Code::EventNotAnObject, "a call is a JSON object")
        } else {
            refuse(Code::EventMalformed, "the call is not valid JSON")
        });
    };
    match call.duplicate() {
        Some(name) => {
            let message = format!("{} stands twice", printable(name));
            Err(refuse(Code::FieldDuplicate, message))
        }
        None => Ok(call),
    }
}

fn call_type(call: &Fields<'_>, endpoint: Endpoint) -> Result<CallType, Rejection> {
    if let Endpoint::One(call_type) = endpoint {
        return Ok(call_type);
    }
    let given = call.get("type");
    let given = given.ok_or_else(|| refuse(Code::FieldMissing, "type is missing"))?;
    let text = text(given).ok_or_else(|| refuse(Code::FieldWrongType, "type is a string"))?;
    CallType::of(&text).ok_or_else(|| {
        let message = "type is one of track, page, screen, identify, group and alias";
        refuse(Code::CallTypeUnknown, message)
    })
}

/// What happened; the name of a track call's event is kept as it is.
fn event_type<'a>(
    call_type: CallType,
    call: &Fields<'a>,
    event_types: &EventTypes,
    metadata: &mut Builder<'a>,
) -> Result<String, Rejection> {
    Ok(match call_type {
        CallType::Track => {
            let given = call.get("event");
            let given = given.ok_or_else(|| refuse(Code::FieldMissing, "event is missing"))?;
            if !given.get().starts_with('"') {
                return Err(refuse(Code::FieldWrongType, "event is a string"));
            }
            let name = text(given).ok_or_else(|| not_unicode("event"))?;
            let event_type = event_types.of(&name);
            if event_type.is_empty() {
                let message = "event has neither a letter nor a digit";
                return Err(refuse(Code::FieldEmpty, message));
            }
            metadata.ours("event_name", given.get());
            event_type
        }
        CallType::Page => "page_view".to_owned(),
        CallType::Screen => "screen_view".to_owned(),
        CallType::Identify | CallType::Group | CallType::Alias => call_type.as_str().to_owned(),
    })
}

/// The call's own object: `traits` of identify and group, `properties` of the
/// others. RudderStack's browser SDK puts the traits of identify into the
/// context. Traits of the context that are not the call's own are kept beside.
fn own_facts<'a>(
    call_type: CallType,
    call: &Fields<'a>,
    context: &mut Context<'a>,
    metadata: &mut Builder<'a>,
) -> Result<Fields<'a>, Rejection> {
    let of_user = context.take_traits();
    let name = match call_type {
        CallType::Identify | CallType::Group => "traits",
        _ => "properties",
    };
    let own = call.get(name).filter(|value| !is_empty(value));
    match (own, of_user) {
        (None, Some(traits)) if call_type == CallType::Identify => {
            return Fields::open("context.traits", Some(traits));
        }
        (Some(own), Some(traits)) if own.get() == traits.get() => {}
        (_, Some(traits)) => metadata.ours("traits", traits.get()),
        (_, None) => {}
    }
    Fields::open(name, own)
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "sdk_tests.rs"]
mod sdk_tests;
