//! Numbers that name things: small enough for the transaction ID, never zero.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Something other than decimal digits, or nothing at all.
    #[error("is not a number")]
    NotANumber,
    /// Zero, or more than the field holds.
    #[error("is not between 1 and {0}")]
    OutOfRange(u32),
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[cfg_attr(test, schemars(extend("minimum" = 1, "maximum" = (1 << $bits) - 1)))]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The largest ID.
            pub const MAX: u32 = (1 << $bits) - 1;
        }

        impl TryFrom<u32> for $name {
            type Error = IdError;

            fn try_from(number: u32) -> Result<Self, IdError> {
                match number {
                    1..=Self::MAX => Ok(Self(number)),
                    _ => Err(IdError::OutOfRange(Self::MAX)),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            /// Reads decimal digits, and nothing else.
            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(IdError::NotANumber);
                }
                // Only too many digits can fail now.
                text.parse::<u32>()
                    .map_err(|_| IdError::OutOfRange(Self::MAX))?
                    .try_into()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// An offer: 20 bits of the transaction ID.
    OfferId,
    20
);
id!(
    /// A partner (on the wire: `aff_id`): 22 bits of the transaction ID.
    PartnerId,
    22
);
id!(
    /// An advertiser. Stands in no transaction ID; bounded like a partner.
    AdvertiserId,
    22
);
id!(
    /// A goal of an offer.
    GoalId,
    20
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimal_digits_in_range() {
        let check = |text: &str, expected: Result<u32, IdError>| {
            assert_eq!(text.parse::<OfferId>().map(u32::from), expected, "{text:?}");
        };
        check("1", Ok(1));
        check("0042", Ok(42));
        check("1048575", Ok(1_048_575));
        check("1048576", Err(IdError::OutOfRange(1_048_575)));
        check("99999999999999999999", Err(IdError::OutOfRange(1_048_575)));
        check("0", Err(IdError::OutOfRange(1_048_575)));
        for text in ["", "+1", "-1", "1.0", " 1", "1e3", "١", "0x1"] {
            check(text, Err(IdError::NotANumber));
        }
        assert_eq!("4194303".parse::<PartnerId>().map(u32::from), Ok(4_194_303));
        assert!("4194304".parse::<PartnerId>().is_err());
    }
}
