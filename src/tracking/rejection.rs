//! Every reason to refuse a postback: code, message, wire form.

use serde::Serialize;
use thiserror::Error;

use crate::json;

use super::transaction_id::TransactionId;

/// The most characters of a text that an answer repeats.
const MAX_ECHO_CHARS: usize = 64;

/// Why a postback is refused. The messages are part of the wire protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Missing, cut off, mistyped or forged.
    #[error("Invalid Trans. ID #{0}.")]
    InvalidTransactionId(Echo),
    /// Genuine, but older than the offer's session.
    #[error("Expired Trans. ID #{0}.")]
    ExpiredTransactionId(TransactionId),
    /// The transaction (and goal) has converted, and multiple conversions are off.
    #[error("Duplicate conversion")]
    DuplicateConversion,
    /// The offer asks for a `Referer`.
    #[error("No referral URL")]
    NoReferralUrl,
    /// The offer's whitelist does not have the sender.
    #[error("IP address not whitelisted")]
    IpNotWhitelisted,
    /// The identifiers or the endpoint do not fit the offer's protocol.
    #[error("Wrong tracking protocol")]
    WrongTrackingProtocol,
    /// The `conversion_unique_id` is known.
    #[error("Duplicate conversion by unique ID")]
    DuplicateUniqueId,
    /// Missing or wrong.
    #[error("Invalid advertiser security token")]
    InvalidSecurityToken,
    /// Unreadable, over-long or unknown.
    #[error("Invalid parameter {0}.")]
    InvalidParameter(&'static str),
}

impl Rejection {
    /// The code, for those that are kept with the offer's conversions.
    pub fn code(&self) -> Option<u8> {
        match self {
            Self::DuplicateConversion => Some(12),
            Self::NoReferralUrl => Some(13),
            Self::IpNotWhitelisted => Some(14),
            Self::WrongTrackingProtocol => Some(15),
            Self::DuplicateUniqueId => Some(18),
            Self::InvalidSecurityToken => Some(19),
            Self::InvalidTransactionId(_)
            | Self::ExpiredTransactionId(_)
            | Self::InvalidParameter(_) => None,
        }
    }
}

/// What a sender sent, fit to be repeated in an answer: at most 64 characters, without control characters and `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo(String);

impl Echo {
    /// Keeps of `text` what can be repeated.
    pub fn new(text: &str) -> Self {
        Self(
            text.chars()
                .filter(|c| !c.is_control() && *c != ';')
                .take(MAX_ECHO_CHARS)
                .collect(),
        )
    }
}

impl std::fmt::Display for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the sender of a postback is told, once it was processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The conversion is on disk.
    Accepted,
    /// It is not counted, and sending it again does not help.
    Refused(Rejection),
}

impl Answer {
    /// The wire form of TUNE, to the byte.
    pub fn text(&self) -> String {
        match self {
            Self::Accepted => "success=true;".to_owned(),
            Self::Refused(rejection) => format!("success=false; err_msg={rejection};"),
        }
    }

    /// The same for `format=json`.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Wire {
            success: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<u8>,
            #[serde(skip_serializing_if = "Option::is_none")]
            err_msg: Option<String>,
        }
        json::write(&match self {
            Self::Accepted => Wire {
                success: true,
                code: None,
                err_msg: None,
            },
            Self::Refused(rejection) => Wire {
                success: false,
                code: rejection.code(),
                err_msg: Some(rejection.to_string()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_the_wire_form() {
        let check = |rejection: Rejection, code: Option<u8>, text: &str| {
            assert_eq!(rejection.code(), code);
            assert_eq!(Answer::Refused(rejection).text(), text);
        };
        let echo = |text: &str| Rejection::InvalidTransactionId(Echo::new(text));
        check(
            echo("10ab"),
            None,
            "success=false; err_msg=Invalid Trans. ID #10ab.;",
        );
        check(
            echo(""),
            None,
            "success=false; err_msg=Invalid Trans. ID #.;",
        );
        check(
            echo("a;b\r\nc\0"),
            None,
            "success=false; err_msg=Invalid Trans. ID #abc.;",
        );
        check(
            echo(&"é".repeat(100)),
            None,
            &format!(
                "success=false; err_msg=Invalid Trans. ID #{}.;",
                "é".repeat(64)
            ),
        );
        check(
            Rejection::DuplicateConversion,
            Some(12),
            "success=false; err_msg=Duplicate conversion;",
        );
        check(
            Rejection::NoReferralUrl,
            Some(13),
            "success=false; err_msg=No referral URL;",
        );
        check(
            Rejection::IpNotWhitelisted,
            Some(14),
            "success=false; err_msg=IP address not whitelisted;",
        );
        check(
            Rejection::WrongTrackingProtocol,
            Some(15),
            "success=false; err_msg=Wrong tracking protocol;",
        );
        check(
            Rejection::DuplicateUniqueId,
            Some(18),
            "success=false; err_msg=Duplicate conversion by unique ID;",
        );
        check(
            Rejection::InvalidSecurityToken,
            Some(19),
            "success=false; err_msg=Invalid advertiser security token;",
        );
        check(
            Rejection::InvalidParameter("amount"),
            None,
            "success=false; err_msg=Invalid parameter amount.;",
        );
        assert_eq!(Answer::Accepted.text(), "success=true;");
        assert_eq!(Answer::Accepted.json(), r#"{"success":true}"#);
        assert_eq!(
            Answer::Refused(Rejection::DuplicateConversion).json(),
            r#"{"success":false,"code":12,"err_msg":"Duplicate conversion"}"#
        );
    }
}
