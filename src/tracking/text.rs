//! Names that people give.

use serde::{Deserialize, Serialize};

/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 200;

/// A name: not empty, at most 200 characters, no control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = 200, "pattern" = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")))]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty()
            || text.chars().count() > MAX_NAME_CHARS
            || text.chars().any(char::is_control)
        {
            Err("is empty, longer than 200 characters, or holds a control character")
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}
