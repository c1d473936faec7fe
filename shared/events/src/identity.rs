//! Where a document lives: the same event always gets the same `_id`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The `_id` of an event's document: base64url of the first 16 bytes of
/// SHA-256(`len(source)` ‖ `source` ‖ `event_id`), the length as four bytes,
/// big-endian. The length in front keeps sources from colliding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DocumentId([u8; 22]);

impl DocumentId {
    /// The identity of `event_id` as sent by `source`.
    #[must_use]
    pub fn new(source: &str, event_id: &str) -> Self {
        Self::digest(Sha256::new(), source, event_id)
    }

    /// The identity of `user_id` as sent by `source`, and of no event: the same
    /// behind four bytes of ones, the length of no source.
    #[must_use]
    pub fn of_user(source: &str, user_id: &str) -> Self {
        let begun = Sha256::new().chain_update([u8::MAX; 4]);
        Self::digest(begun, source, user_id)
    }

    fn digest(begun: Sha256, source: &str, name: &str) -> Self {
        // A source name is configured and short; the cast cannot wrap.
        #[allow(clippy::cast_possible_truncation)]
        let length = (source.len() as u32).to_be_bytes();
        let digest = begun
            .chain_update(length)
            .chain_update(source)
            .chain_update(name)
            .finalize();
        let mut text = [0_u8; 22];
        // 16 bytes are exactly 22 characters, so the slice always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(&digest[..16], &mut text);
        Self(text)
    }

    /// The 22 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first 8 of its 16 bytes as a number: tells few documents apart,
    /// those of one session for instance, in little space.
    #[must_use]
    pub fn short(&self) -> u64 {
        let mut bytes = [0_u8; 9];
        // 12 characters are 9 bytes, and they are base64url by construction.
        let _ = URL_SAFE_NO_PAD.decode_slice(&self.0[..12], &mut bytes);
        bytes[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl AsRef<str> for DocumentId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable() {
        // printf '\0\0\0\4shope-1' | sha256sum | cut -c1-32 | xxd -r -p | base64
        assert_eq!(
            DocumentId::new("shop", "e-1").as_str(),
            "C8FZpU72lmm1neL4qeiYVg"
        );
    }

    #[test]
    fn its_short_form_is_its_first_eight_bytes() {
        // printf '\0\0\0\4shope-1' | sha256sum | cut -c1-16
        assert_eq!(
            DocumentId::new("shop", "e-1").short(),
            0x0bc1_59a5_4ef6_9669
        );
    }

    #[test]
    fn sources_cannot_collide() {
        assert_ne!(DocumentId::new("ab", "c"), DocumentId::new("a", "bc"));
    }

    #[test]
    fn a_user_is_no_event() {
        // printf '\377\377\377\377\0\0\0\4shopu-1' | sha256sum | cut -c1-32 | xxd -r -p | base64
        assert_eq!(
            DocumentId::of_user("shop", "u-1").as_str(),
            "FGXcYn79hULYVU3kbEjGYQ"
        );
        assert_ne!(
            DocumentId::of_user("shop", "u-1"),
            DocumentId::new("shop", "u-1")
        );
        assert_ne!(
            DocumentId::of_user("ab", "c"),
            DocumentId::of_user("a", "bc")
        );
    }

    proptest::proptest! {
        #[test]
        fn is_22_url_safe_characters(source in ".{0,20}", id in ".{0,60}") {
            let text = DocumentId::new(&source, &id).to_string();
            proptest::prop_assert_eq!(text.len(), 22);
            proptest::prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
    }
}
