//! Money as decimals: exact, never floating point, at most four places.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Ten-thousandths in one unit of a currency.
const SCALE: i64 = 10_000;

/// An amount of money of at least zero, in ten-thousandths of its currency's unit.
///
/// At most [`Money::MAX`], so that the count stays far under 2^53: SQL integers pass through a JavaScript number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("pattern" = "^[0-9]{1,11}(\\.[0-9]{1,4})?$", "examples" = ["1.50"])))]
#[serde(try_from = "String", into = "String")]
pub struct Money(i64);

/// The text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a decimal number from 0 to 99999999999.9999 with at most 4 places")]
pub struct InvalidMoney;

impl Money {
    /// 99,999,999,999.9999: eleven digits before the point.
    pub const MAX: Self = Self(100_000_000_000 * SCALE - 1);

    /// The count of ten-thousandths, as it is stored.
    pub fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// Reads back what [`Self::ten_thousandths`] gave; `None` outside the range.
    pub fn from_ten_thousandths(count: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&count).then_some(Self(count))
    }

    /// The sum, at most [`Self::MAX`].
    fn plus(self, other: Self) -> Self {
        Self((self.0 + other.0).min(Self::MAX.0))
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;

    /// Reads `12`, `12.5`, `.5`, `12.`; zeros behind the fourth place do no harm.
    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let places = if places.len() > 4 {
            places.trim_end_matches('0')
        } else {
            places
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !(digits(whole) && digits(places))
            || text.trim_matches('.').is_empty()
            || places.len() > 4
        {
            return Err(InvalidMoney);
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > 11 {
            return Err(InvalidMoney);
        }
        format!("{whole}{places:0<4}")
            .parse()
            .map(Self)
            .map_err(|_| InvalidMoney)
    }
}

impl TryFrom<String> for Money {
    type Error = InvalidMoney;

    fn try_from(text: String) -> Result<Self, InvalidMoney> {
        text.parse()
    }
}

impl From<Money> for String {
    fn from(money: Money) -> Self {
        money.to_string()
    }
}

impl std::fmt::Display for Money {
    /// At least two places, more only where they are needed: `1.50`, `0.1234`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = format!("{:04}", self.0 % SCALE);
        let needed = places.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / SCALE, &places[..needed])
    }
}

/// A percentage from 0 to 100, with at most four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("pattern" = "^(100|[0-9]{1,2}(\\.[0-9]{1,4})?)$", "examples" = ["10"])))]
#[serde(try_from = "String", into = "String")]
pub struct Percentage(Money);

impl TryFrom<String> for Percentage {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse::<Money>()
            .ok()
            .filter(|percent| percent.0 <= 100 * SCALE)
            .map(Self)
            .ok_or("is not a percentage from 0 to 100 with at most 4 places")
    }
}

impl From<Percentage> for String {
    fn from(percentage: Percentage) -> Self {
        percentage.0.to_string()
    }
}

impl Percentage {
    /// The share of `amount`, rounded half up to four places.
    fn of(self, amount: Money) -> Money {
        let divisor = i128::from(100 * SCALE);
        let product = i128::from(amount.0) * i128::from(self.0.0);
        // At most `amount`, since the percentage is at most 100.
        Money(i64::try_from((product + divisor / 2) / divisor).unwrap_or(Money::MAX.0))
    }
}

/// What a conversion costs an advertiser or earns a partner: flat, a percentage of the sale, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Paid for each conversion, in the offer's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<Money>,
    /// Paid of the sale amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percentage>,
}

impl Rate {
    /// What is due for a sale; a percentage of no amount is 0.
    pub fn due(self, sale: Option<Money>) -> Money {
        let share = match (self.percent, sale) {
            (Some(percent), Some(amount)) => percent.of(amount),
            _ => Money::default(),
        };
        self.flat.unwrap_or_default().plus(share)
    }
}

/// A currency: three capital letters, as in ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("pattern" = "^[A-Za-z]{3}$", "examples" = ["USD"])))]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The text is no currency code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a currency code of three letters")]
pub struct InvalidCurrency;

impl Currency {
    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    /// Reads three letters, in upper or lower case.
    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| InvalidCurrency)?;
        if letters.iter().all(u8::is_ascii_alphabetic) {
            Ok(Self(letters.map(|letter| letter.to_ascii_uppercase())))
        } else {
            Err(InvalidCurrency)
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidCurrency;

    fn try_from(text: String) -> Result<Self, InvalidCurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_decimals() {
        let check = |text: &str, expected: Option<&str>| {
            let written = text.parse::<Money>().ok().map(|money| money.to_string());
            assert_eq!(written.as_deref(), expected, "{text:?}");
        };
        check("0", Some("0.00"));
        check("19.99", Some("19.99"));
        check("1.5", Some("1.50"));
        check("0.1234", Some("0.1234"));
        check("1.23400000", Some("1.234"));
        check(".5", Some("0.50"));
        check("5.", Some("5.00"));
        check("007", Some("7.00"));
        check("99999999999.9999", Some("99999999999.9999"));
        for text in [
            "",
            ".",
            "..",
            "-1",
            "+1",
            "1,50",
            "1.2.3",
            "1e3",
            "0.00001",
            "100000000000",
            "$5",
            " 1",
            "NaN",
            "AMOUNT",
            "١",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn computes_what_is_due() {
        let check = |flat: Option<&str>, percent: Option<&str>, sale: Option<&str>, due: &str| {
            let rate = Rate {
                flat: flat.map(|text| text.parse().expect("flat")),
                percent: percent.map(|text| text.to_owned().try_into().expect("percent")),
            };
            let sale = sale.map(|text| text.parse().expect("sale"));
            assert_eq!(rate.due(sale).to_string(), due);
        };
        check(None, None, Some("10"), "0.00");
        check(Some("1.5"), None, None, "1.50");
        check(None, Some("10"), Some("19.99"), "1.999");
        check(None, Some("10"), None, "0.00");
        check(Some("1.5"), Some("2.5"), Some("100"), "4.00");
        // 0.0001 × 50 % is half of the smallest unit, and goes up.
        check(None, Some("50"), Some("0.0001"), "0.0001");
        check(None, Some("49.9999"), Some("0.0001"), "0.00");
        check(
            Some("99999999999.9999"),
            Some("100"),
            Some("99999999999.9999"),
            "99999999999.9999",
        );
    }

    #[test]
    fn a_percentage_is_at_most_a_hundred() {
        assert!(Percentage::try_from("100".to_owned()).is_ok());
        assert!(Percentage::try_from("100.0001".to_owned()).is_err());
    }

    #[test]
    fn reads_currencies() {
        assert_eq!(
            "usd".parse::<Currency>().map(String::from),
            Ok("USD".into())
        );
        for text in ["", "US", "USDT", "U$D", "éa"] {
            assert_eq!(text.parse::<Currency>(), Err(InvalidCurrency), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(count in 0..=Money::MAX.0) {
            let money = Money(count);
            prop_assert_eq!(money.to_string().parse(), Ok(money));
        }

        #[test]
        fn reads_anything_without_panic(text: String) {
            let _ = text.parse::<Money>();
            let _ = text.parse::<Currency>();
        }
    }
}
