//! What the event source mapping hands over in a tumbling window, and what it
//! wants back.
//!
//! (The types of `aws_lambda_events` decode every record's base64 at once, and
//! take state for a map of strings.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_edge::records::Envelope;
use freshet_events::Timestamp;
use freshet_tables::{ChainName, Manifest};
use freshet_windows::Piece;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use thiserror::Error;

/// Lambda ends a window early whose state is larger; this much of it is ours,
/// so that a piece as base64 and the manifest stay below.
pub const MAX_STATE_BYTES: usize = 1_000_000;

/// An invocation's payload.
#[derive(Deserialize)]
pub struct Invocation<'a> {
    /// In the order of the shard; none in a final invocation that brings none.
    #[serde(rename = "Records", borrow)]
    pub records: Vec<Envelope<'a>>,
    #[serde(borrow)]
    window: ArrivalWindow<'a>,
    #[serde(default)]
    state: State,
    #[serde(rename = "shardId", borrow, default)]
    shard: Cow<'a, str>,
    #[serde(rename = "isFinalInvokeForWindow", default)]
    is_final: bool,
    #[serde(rename = "isWindowTerminatedEarly", default)]
    is_terminated_early: bool,
}

#[derive(Deserialize)]
struct ArrivalWindow<'a> {
    #[serde(borrow)]
    start: Cow<'a, str>,
    #[serde(borrow)]
    end: Cow<'a, str>,
}

/// A chain's manifest so far, and what was counted and not published.
pub type Chain = (Manifest, Option<Piece>);

/// What one invocation of a chain hands to the next. Empty at a window's
/// beginning.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub struct State {
    /// The chain's first and, so far, last sequence number.
    #[serde(skip_serializing_if = "String::is_empty")]
    first: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    last: String,
    /// [`Manifest`] as base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    manifest: String,
    /// What is counted and not yet published: [`Piece`] as base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    carried: String,
}

/// A response. No batch item failures: a batch is counted whole or fails whole,
/// and then Lambda repeats it with the state it had.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Answer {
    state: State,
}

/// Why an invocation cannot be begun.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// It is not the payload of a Kinesis mapping with tumbling windows.
    #[error("the payload is no batch of a stream in a tumbling window")]
    Payload(#[source] serde_json::Error),
    /// The state is not what this or an older release returned.
    #[error("the state's {0} cannot be read")]
    State(&'static str),
    /// The window is not two times.
    #[error("the window cannot be read")]
    Window,
}

impl State {
    /// The state of a chain that goes on.
    #[must_use]
    pub fn of(manifest: &Manifest, carried: Option<&[u8]>) -> Self {
        Self {
            first: manifest.chain.first.clone(),
            last: manifest.last.clone(),
            manifest: STANDARD.encode(manifest.to_bytes()),
            carried: carried
                .map(|piece| STANDARD.encode(piece))
                .unwrap_or_default(),
        }
    }
}

impl Answer {
    /// The chain goes on with this state.
    #[must_use]
    pub const fn go_on(state: State) -> Self {
        Self { state }
    }

    /// The chain has ended.
    #[must_use]
    pub fn ended() -> Self {
        Self {
            state: State::default(),
        }
    }
}

impl<'a> Invocation<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`InvocationError::Payload`] if it is not one.
    pub fn read(payload: &'a str) -> Result<Self, InvocationError> {
        serde_json::from_str(payload).map_err(InvocationError::Payload)
    }

    /// Whether the chain ends with this invocation.
    #[must_use]
    pub const fn ends_chain(&self) -> bool {
        self.is_final || self.is_terminated_early
    }

    /// When the last record reached the stream.
    #[must_use]
    pub fn last_arrival(&self) -> Option<Timestamp> {
        self.records.last().map(Envelope::arrived_at)
    }

    /// The manifest so far, with these records as its last, and what was
    /// counted and not published. `None` if there is nothing at all: an empty
    /// final invocation of a chain that has counted nothing.
    ///
    /// # Errors
    /// [`InvocationError`] if the state cannot be read.
    pub fn chain(&self) -> Result<Option<Chain>, InvocationError> {
        self.chain_of(&self.state)
    }

    fn chain_of(&self, state: &State) -> Result<Option<Chain>, InvocationError> {
        let first_record = self.records.first();
        let first = match (state.first.as_str(), first_record) {
            ("", None) => return Ok(None),
            ("", Some(record)) => record.sequence_number().as_str().to_owned(),
            (first, _) => first.to_owned(),
        };
        let last = self.records.last().map_or_else(
            || state.last.clone(),
            |record| record.sequence_number().as_str().to_owned(),
        );
        let shard = match (&*self.shard, first_record) {
            ("", Some(record)) => record.shard_id().to_owned(),
            (shard, _) => shard.to_owned(),
        };
        let chain = ChainName {
            window_start: self.arrival_window()?.0,
            shard,
            first,
        };
        let manifest = if state.manifest.is_empty() {
            Manifest {
                chain,
                last,
                pieces: Vec::new(),
                late_dropped: 0,
                early_dropped: 0,
            }
        } else {
            let unreadable = InvocationError::State("manifest");
            let Ok(bytes) = STANDARD.decode(&state.manifest) else {
                return Err(unreadable);
            };
            Manifest::from_bytes(chain, last, &bytes).map_err(|_| unreadable)?
        };
        let carried = if state.carried.is_empty() {
            None
        } else {
            let bytes = STANDARD.decode(&state.carried).ok();
            let piece = bytes.and_then(|bytes| Piece::decode(&bytes).ok());
            Some(piece.ok_or(InvocationError::State("carried piece"))?)
        };
        Ok(Some((manifest, carried)))
    }

    /// A chain that begins with these records, whatever the state says. `None`
    /// without records.
    ///
    /// # Errors
    /// [`InvocationError`] if the window cannot be read.
    pub fn new_chain(&self) -> Result<Option<Chain>, InvocationError> {
        self.chain_of(&State::default())
    }

    /// The arrival window: its first second and the first one after it, since 1970.
    ///
    /// # Errors
    /// [`InvocationError::Window`] if it is not two times.
    pub fn arrival_window(&self) -> Result<(i64, i64), InvocationError> {
        let seconds = |text| {
            let at = Timestamp::parse_iso8601(text).ok_or(InvocationError::Window)?;
            Ok(at.as_millis().div_euclid(1000))
        };
        Ok((seconds(&self.window.start)?, seconds(&self.window.end)?))
    }
}
