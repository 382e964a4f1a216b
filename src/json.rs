//! JSON: read with the place where it is wrong, and written.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A text that is not the JSON of what was to be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct JsonError {
    /// The path of the field or of what is around it, as in `offers[2].offer_url`; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads a value.
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T, JsonError> {
    serde_json::from_str(json).map_err(|error| located(json, &error))
}

/// An error with the place where it is. (Apart from [`read`], of which there is one for each type.)
fn located(json: &str, error: &serde_json::Error) -> JsonError {
    let line_start: usize = json
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let reason = error.to_string();
    // The field says where it is, also to those who have not written the lines that were read.
    let reason = match reason.rfind(" at line ") {
        Some(end) => reason.get(..end).unwrap_or_default(),
        None => &reason,
    };
    JsonError {
        field: path(
            json,
            line_start + error.column(),
            reason.starts_with("missing field"),
        ),
        reason: reason.to_owned(),
    }
}

/// Writes a value. Only a map with keys that are no strings could fail, and no type here has one.
pub fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The path of what was read last when the first `end` bytes were read, or of the object around it. (A deserializer that
/// keeps track of it would add a fifth to the size of the module.)
fn path(json: &str, end: usize, of_object: bool) -> String {
    enum Level {
        Object(String),
        Array(usize),
    }
    let mut levels = Vec::new();
    let mut key_follows = false;
    // A comma that was read belongs to the value before it.
    let read = json
        .get(..end)
        .unwrap_or(json)
        .trim_end_matches([',', ' ', '\n']);
    // The end of an object is read before what is wrong with its last value is said.
    let read = read
        .strip_suffix('}')
        .filter(|_| !of_object)
        .unwrap_or(read);
    let mut chars = read.chars();
    while let Some(c) = chars.next() {
        match (c, levels.last_mut()) {
            ('{', _) => {
                levels.push(Level::Object(String::new()));
                key_follows = true;
            }
            ('[', _) => levels.push(Level::Array(0)),
            ('}' | ']', _) => {
                levels.pop();
            }
            (',', Some(Level::Array(index))) => *index += 1,
            (',', Some(Level::Object(_))) => key_follows = true,
            ('"', level) => {
                let mut text = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    text.push(c);
                    if c == '\\' {
                        chars.next();
                    }
                }
                if let Some(Level::Object(key)) = level
                    && key_follows
                {
                    *key = text;
                    key_follows = false;
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Array(index) => path.extend(["[", &index.to_string(), "]"]),
            Level::Object(key) => {
                if !path.is_empty() && !key.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "list")]
        _list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "a")]
        _a: u8,
        #[serde(default, rename = "b")]
        _b: Vec<String>,
        #[serde(default, rename = "n")]
        _n: Y,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(try_from = "String")]
    struct Y;

    impl TryFrom<String> for Y {
        type Error = &'static str;

        fn try_from(text: String) -> Result<Self, Self::Error> {
            (text == "y").then_some(Self).ok_or("is not y")
        }
    }

    #[test]
    fn says_where_it_is_wrong() {
        let check = |json: &str, field: &str, reason: &str| {
            let error = read::<Outer>(json).expect_err(json);
            assert_eq!(error.field, field, "{json}");
            assert!(error.reason.contains(reason), "{error}");
        };
        check(r#"{"list": [{"a": 1}, {"a": 256}]}"#, "list[1].a", "256");
        check(
            r#"{"list": [{"a": "x,\"{"}]}"#,
            "list[0].a",
            "invalid type: string",
        );
        check(
            "{\n\"list\": [\n{\"a\": 1, \"b\": [\"é\", 2]}]}",
            "list[0].b[1]",
            "invalid type: integer",
        );
        check(
            r#"{"list": [{"a": 1, "b": [1 , "x"]}]}"#,
            "list[0].b[0]",
            "invalid type: integer",
        );
        check(r#"{"list": [{"a": 1, "n": "x"}]}"#, "list[0].n", "is not y");
        check(r#"{"list": [{"c": 1}]}"#, "list[0].c", "unknown field `c`");
        check(r#"{"list": [{"b": []}]}"#, "list[0]", "missing field `a`");
        check(r#"{"list": 1}"#, "list", "invalid type");
        check("[]", "", "");
        check("", "", "EOF");
        check(r#"{"list": [{"a""#, "list[0].a", "EOF");
    }

    proptest! {
        #[test]
        fn reads_anything_without_panic(json in r#"[\[\]{}",:\\aé1\n ]{0,40}"#) {
            let _ = read::<Outer>(&json);
        }
    }
}
