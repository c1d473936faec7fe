//! The rule of a composite alarm: `ALARM(a) AND (NOT OK("b") OR TRUE)`.

use crate::error::Error;
use crate::judge::State;

/// How deep parentheses and NOTs may go: more is nobody's rule.
const MAX_DEPTH: usize = 64;

/// A rule that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `TRUE` or `FALSE`.
    Constant(bool),
    /// `ALARM(name)`, `OK(name)` or `INSUFFICIENT_DATA(name)`.
    Is(State, String),
    /// `NOT rule`.
    Not(Box<Self>),
    /// `rule AND rule …`.
    And(Vec<Self>),
    /// `rule OR rule …`.
    Or(Vec<Self>),
}

impl Rule {
    /// Reads a rule. Alarms may be named in quotation marks, and by ARN.
    ///
    /// AND beside OR is refused unless parentheses say which is meant: the
    /// reference does not say which of them binds closer.
    ///
    /// # Errors
    /// [`Error::Rule`] says where and why.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0 };
        let rule = parser.expression(0)?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.error("something follows the end"));
        }
        Ok(rule)
    }

    /// Whether the rule holds, with the states that alarms have.
    pub fn holds(&self, state: &impl Fn(&str) -> State) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Is(expected, alarm) => state(alarm) == *expected,
            Self::Not(rule) => !rule.holds(state),
            Self::And(rules) => rules.iter().all(|rule| rule.holds(state)),
            Self::Or(rules) => rules.iter().any(|rule| rule.holds(state)),
        }
    }

    /// The alarms that it is about.
    #[must_use]
    pub fn alarms(&self) -> Vec<&str> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Is(_, alarm) => vec![alarm],
            Self::Not(rule) => rule.alarms(),
            Self::And(rules) | Self::Or(rules) => rules.iter().flat_map(Self::alarms).collect(),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: &str) -> Error {
        Error::Rule {
            at: self.at,
            reason: reason.to_owned(),
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, sign: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphabetic() || c == '_'));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn expression(&mut self, depth: usize) -> Result<Rule, Error> {
        let first = self.term(depth)?;
        let mut rules = vec![first];
        let mut operator = None;
        loop {
            let before = self.at;
            let word = self.word();
            if word != "AND" && word != "OR" {
                self.at = before;
                break;
            }
            if operator.is_some_and(|operator| operator != word) {
                self.at = before;
                return Err(self.error("AND and OR side by side need parentheses"));
            }
            operator = Some(word);
            rules.push(self.term(depth)?);
        }
        match (operator, rules.pop()) {
            (None, Some(only)) => Ok(only),
            (Some(operator), Some(last)) => {
                rules.push(last);
                Ok(if operator == "AND" {
                    Rule::And(rules)
                } else {
                    Rule::Or(rules)
                })
            }
            (_, None) => Err(self.error("nothing")),
        }
    }

    fn term(&mut self, depth: usize) -> Result<Rule, Error> {
        if depth > MAX_DEPTH {
            return Err(self.error("too deep"));
        }
        if self.takes('(') {
            let rule = self.expression(depth + 1)?;
            return if self.takes(')') {
                Ok(rule)
            } else {
                Err(self.error("a parenthesis is not closed"))
            };
        }
        let before = self.at;
        let state = match self.word() {
            "NOT" => return Ok(Rule::Not(Box::new(self.term(depth + 1)?))),
            "TRUE" => return Ok(Rule::Constant(true)),
            "FALSE" => return Ok(Rule::Constant(false)),
            "ALARM" => State::Alarm,
            "OK" => State::Ok,
            "INSUFFICIENT_DATA" => State::InsufficientData,
            _ => {
                self.at = before;
                return Err(self.error("no function of alarms"));
            }
        };
        if !self.takes('(') {
            return Err(self.error("no alarm's name"));
        }
        self.skip_space();
        let rest = self.rest();
        let (name, length) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"');
            let end = end.ok_or_else(|| self.error("a quotation is not closed"))?;
            (&quoted[..end], end + 2)
        } else {
            let end = rest.find(')').unwrap_or(rest.len());
            (rest[..end].trim_end(), end)
        };
        self.at += length;
        if !self.takes(')') {
            return Err(self.error("a parenthesis is not closed"));
        }
        let name = name.rsplit_once(":alarm:").map_or(name, |(_, name)| name);
        if name.is_empty() {
            return Err(self.error("no alarm's name"));
        }
        Ok(Rule::Is(state, name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The states of alarms whose names say them.
    fn state(name: &str) -> State {
        match name.as_bytes()[0] {
            b'a' => State::Alarm,
            b'o' => State::Ok,
            _ => State::InsufficientData,
        }
    }

    fn holds(rule: &str) -> bool {
        Rule::parse(rule).unwrap().holds(&state)
    }

    #[test]
    fn functions_and_operators_mean_what_the_reference_says() {
        for rule in [
            "TRUE",
            "ALARM(a)",
            "OK(\"o one\")",
            "INSUFFICIENT_DATA( i )",
            "ALARM(arn:aws:cloudwatch:us-east-1:000000000000:alarm:a-1)",
            "NOT ALARM(o)",
            "ALARM(a) AND NOT ALARM(o)",
            "ALARM(a1) OR ALARM(o1)\n OR ALARM(o2)",
            "(ALARM(a) OR FALSE) AND (NOT (OK(a) OR OK(i)))",
            "NOT NOT ALARM(a)",
        ] {
            assert!(holds(rule), "{rule}");
            assert!(!holds(&format!("NOT ({rule})")), "{rule}");
        }
        assert!(!holds("ALARM(a) AND ALARM(o)"));
        assert!(!holds("FALSE"));
    }

    #[test]
    fn what_is_no_rule_is_refused_where_it_goes_wrong() {
        for (rule, at) in [
            ("", 0),
            ("ALARM", 5),
            ("ALARM()", 7),
            ("ALARM(a", 7),
            ("ALARM(\"a)", 6),
            ("ALARM(a) ALARM(b)", 9),
            ("ALARM(a) AND", 12),
            ("ALARM(a) AND ALARM(b) OR ALARM(c)", 21),
            ("(ALARM(a)", 9),
            ("alarm(a)", 0),
            ("AT_LEAST(1, ALARM, (a))", 0),
        ] {
            let error = Rule::parse(rule).unwrap_err();
            assert!(
                matches!(error, Error::Rule { at: found, .. } if found == at),
                "{rule}: {error}"
            );
        }
        let deep = format!("{}TRUE{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(Rule::parse(&deep).is_err());
    }

    #[test]
    fn the_alarms_of_a_rule_are_all_of_them() {
        let rule = Rule::parse("ALARM(a) AND (NOT OK(b) OR (ALARM(c) AND TRUE))").unwrap();
        assert_eq!(rule.alarms(), ["a", "b", "c"]);
    }

    fn any_rule() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("TRUE".to_owned()),
            Just("FALSE".to_owned()),
            "(ALARM|OK|INSUFFICIENT_DATA)\\([aoi][a-z]{0,3}\\)",
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|rule| format!("NOT ({rule})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(({a}) AND ({b}))")),
                (inner.clone(), inner).prop_map(|(a, b)| format!("(({a}) OR ({b}))")),
            ]
        })
    }

    proptest! {
        #[test]
        fn de_morgan_holds(one in any_rule(), other in any_rule()) {
            let neither = format!("NOT (({one}) OR ({other}))");
            let both_not = format!("(NOT ({one})) AND (NOT ({other}))");
            prop_assert_eq!(holds(&neither), holds(&both_not));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-Z_a-zé()\" ]{0,60}") {
            drop(Rule::parse(&text));
        }
    }
}
