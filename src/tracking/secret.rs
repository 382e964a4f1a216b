//! Secrets that cannot be printed by accident.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// A shared secret: not empty, compared in constant time, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("minLength" = 1)))]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for those who are to be told.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the secret. Takes as long wherever the two first differ; only the length shows.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            Err("is empty")
        } else {
            Ok(Self(text))
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_whole_secret_and_hides_it() {
        let secret = Secret::try_from("7ab2".to_owned()).expect("secret");
        assert!(secret.matches("7ab2"));
        for candidate in ["", "7ab", "7ab21", "7AB2"] {
            assert!(!secret.matches(candidate), "{candidate}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(Secret::try_from(String::new()).is_err());
    }
}
