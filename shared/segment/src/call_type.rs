//! The six calls, and the paths they are posted to.

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallType {
    /// A user did something.
    Track,
    /// A user saw a page.
    Page,
    /// A user saw a screen of an app.
    Screen,
    /// Who a user is.
    Identify,
    /// Which group a user belongs to.
    Group,
    /// Two ids are one user.
    Alias,
}

impl CallType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Track,
        Self::Page,
        Self::Screen,
        Self::Identify,
        Self::Group,
        Self::Alias,
    ];

    /// The text of a call's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Identify => "identify",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// From the text of a call's `type`, in whatever case; `None` for others.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|call| call.as_str().eq_ignore_ascii_case(text))
    }
}

/// What a path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// One call of this type, whatever its `type` says.
    One(CallType),
    /// Many calls, each with its `type`.
    Batch,
    /// Many calls out of the past: nobody's clock is corrected.
    Import,
}

impl Endpoint {
    /// From the last segment of a path, long or short; `None` for others.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "track" | "t" => Self::One(CallType::Track),
            "page" | "p" => Self::One(CallType::Page),
            "screen" | "s" => Self::One(CallType::Screen),
            "identify" | "i" => Self::One(CallType::Identify),
            "group" | "g" => Self::One(CallType::Group),
            "alias" | "a" => Self::One(CallType::Alias),
            "batch" | "b" => Self::Batch,
            "import" => Self::Import,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_long_or_short() {
        for call in CallType::ALL {
            let name = call.as_str();
            assert_eq!(Endpoint::of(name), Some(Endpoint::One(call)));
            assert_eq!(Endpoint::of(&name[..1]), Some(Endpoint::One(call)));
            assert_eq!(CallType::of(name), Some(call));
            assert_eq!(CallType::of(&name.to_uppercase()), Some(call));
        }
        assert_eq!(Endpoint::of("batch"), Some(Endpoint::Batch));
        assert_eq!(Endpoint::of("b"), Some(Endpoint::Batch));
        assert_eq!(Endpoint::of("import"), Some(Endpoint::Import));
        for name in ["", "T", "tracks", "events", "m"] {
            assert_eq!(Endpoint::of(name), None, "{name}");
        }
        assert_eq!(CallType::of("t"), None);
    }
}
