//! Core: an event becomes a searchable document (URL, user agent, place, derived fields). Depends on events.
