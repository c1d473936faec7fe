//! A call of a visitor who asked not to be tracked.

use crate::call_type::CallType;
use crate::draft::Draft;
use crate::fields::Fields;
use crate::metadata::{object, raw};
use freshet_events::IP_ADDRESS;

/// Keys of metadata that say who somebody is.
const PERSONAL: [&str; 5] = [
    IP_ADDRESS,
    "traits",
    "anonymous_id",
    "previous_id",
    "group_id",
];

/// What stays of a context: it describes an app, a browser and a page. What is
/// not here may be an id: of the device, of an advertiser, of another system.
const CONTEXT: [&str; 8] = [
    "app",
    "library",
    "network",
    "os",
    "page",
    "timezone",
    "userAgentData",
    "consent",
];

/// What stays of a context's device.
const DEVICE: [&str; 3] = ["type", "manufacturer", "model"];

impl Draft {
    /// Takes the person out: `user_id` becomes `hash(user_id)`, and so does a
    /// session's id that the client gave. The IP address, traits, and all other
    /// ids of the person, the group and the device are removed. Event names,
    /// the page's URL and the properties of a track, page or screen call stay
    /// as they are.
    pub fn anonymise(&mut self, hash: impl Fn(&str) -> String) {
        self.user_id = hash(&self.user_id);
        self.session_id = self.session_id.as_deref().map(&hash);
        let of_a_person = matches!(self.call_type, CallType::Identify | CallType::Group);
        let metadata = Fields::read(self.metadata.get()).unwrap_or_default();
        let kept = metadata.iter().enumerate().filter(|(at, (key, _))| {
            // What is not ours are traits.
            !PERSONAL.contains(key) && (*at < self.ours || !of_a_person)
        });
        let mut ours = 0;
        let mut fields = Vec::new();
        for (at, (key, value)) in kept {
            let json = match key {
                "context" if at < self.ours => impersonal(value.get()),
                _ => value.get().to_owned(),
            };
            fields.push((key, json));
            ours += usize::from(at < self.ours);
        }
        let json = object(fields.iter().map(|(key, json)| (*key, json.as_str())));
        // Cannot fail: every part was checked when the draft was made. If it
        // did, nothing may stay.
        self.metadata = raw(json).unwrap_or_default();
        self.ours = ours;
    }
}

/// A context without ids.
fn impersonal(context: &str) -> String {
    let context = Fields::read(context).unwrap_or_default();
    let mut device = Fields::lenient(context.get("device"));
    device.retain(|name, _| DEVICE.contains(&name));
    let device_json = object(device.iter().map(|(name, value)| (name, value.get())));
    let kept = context.iter().filter(|(name, _)| CONTEXT.contains(name));
    let kept = kept.map(|(name, value)| (name, value.get()));
    let device = (!device.is_empty()).then_some(("device", device_json.as_str()));
    object(kept.chain(device))
}
