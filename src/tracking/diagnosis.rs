//! Why did my conversion not count? What senders of postbacks get wrong, found in what they sent.

use serde::{Deserialize, Serialize};

use super::offer::{Offer, Protocol};
use super::postback::{self, Postback};
use super::query;
use super::received::Received;
use super::rejection::{Echo, Rejection};
use super::transaction_id::{Keyring, LENGTH, Unverified};

/// Something that is wrong with a postback, or looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// What it is.
    pub problem: Problem,
    /// The parameter it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The same for people, with what to do.
    pub message: String,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A value is still the name of what should stand there.
    PlaceholderNotFilled,
    /// A parameter has a name that Tidemark does not know.
    UnknownParameter,
    /// There is no transaction ID where one is needed.
    TransactionIdMissing,
    /// The transaction ID has too few characters.
    TransactionIdCutOff,
    /// The transaction ID has too many characters, or characters that none has.
    TransactionIdMalformed,
    /// The transaction ID has the right form, but this network has not signed it.
    TransactionIdForged,
    /// The click is older than the offer's sessions last.
    ClickTooOld,
    /// The offer's protocol asks for other identifiers.
    WrongProtocol,
    /// The address is not on the offer's whitelist.
    AddressNotWhitelisted,
    /// The advertiser's token is missing or another one.
    SecurityTokenWrong,
    /// There is no `Referer` header.
    ReferrerMissing,
    /// The transaction or the unique ID has converted before.
    Duplicate,
    /// A value cannot be read.
    InvalidValue,
}

/// Names that other systems use, and what Tidemark calls the same.
const ALIASES: [(&str, &str); 16] = [
    ("clickid", "transaction_id"),
    ("click_id", "transaction_id"),
    ("cid", "transaction_id"),
    ("tid", "transaction_id"),
    ("txid", "transaction_id"),
    ("subid", "transaction_id"),
    ("session_id", "transaction_id"),
    ("payout", "amount"),
    ("price", "amount"),
    ("sum", "amount"),
    ("value", "amount"),
    ("order_id", "conversion_unique_id"),
    ("orderid", "conversion_unique_id"),
    ("token", "security_token"),
    ("affiliate_id", "aff_id"),
    ("goal", "goal_id"),
];

/// Looks for what is wrong with a postback that was answered with `answer`. The offer is that of its ID, or the one it
/// names; without a keyring, nothing is said of the ID.
pub fn diagnose(
    received: &Received,
    answer: &str,
    offer: Option<&Offer>,
    keyring: Option<&Keyring>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |problem: Problem, parameter: Option<&str>, message: String| {
        findings.push(Finding {
            problem,
            parameter: parameter.map(|name| Echo::new(name).to_string()),
            message,
        });
    };
    let pairs = |text| query::pairs(text).into_iter().flatten();
    for (name, value) in pairs(received.query()).chain(pairs(&received.form)) {
        let known = Postback::parameters().any(|known| known == name);
        if !known {
            let guess = match nearest(&name) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "it was ignored.".to_owned(),
            };
            let message = format!(
                "Tidemark does not know the parameter {}: {guess}",
                Echo::new(&name)
            );
            found(Problem::UnknownParameter, Some(&name), message);
        }
        if is_placeholder(&value) {
            let message = format!(
                "{} has the value {}: a placeholder that was never filled in.",
                Echo::new(&name),
                Echo::new(&value)
            );
            found(Problem::PlaceholderNotFilled, Some(&name), message);
        }
    }

    let id = received.transaction_id.as_deref();
    let verified = id.and_then(|id| keyring?.verify(id).ok());
    if let (Some(text), None, Some(_)) = (id, verified, keyring)
        && !is_placeholder(text)
    {
        let (problem, message) = not_genuine(text);
        found(problem, Some("transaction_id"), message);
    }
    if id.is_none() && offer.is_none_or(|offer| offer.protocol == Protocol::Server) {
        let message = "There is no transaction_id: send the one that the landing page received.";
        found(
            Problem::TransactionIdMissing,
            Some("transaction_id"),
            message.to_owned(),
        );
    }
    if let (Some(id), Some(offer)) = (verified, offer)
        && postback::is_expired(&id, offer, received.received_at)
    {
        let hours = u16::from(offer.session_hours);
        let age = received.received_at.signed_duration_since(id.clicked_at());
        let late = age - offer.session_hours.duration();
        let message = format!(
            "The click was {} old, and sessions of this offer last {hours} hours: too late by {}.",
            span(age),
            span(late)
        );
        found(Problem::ClickTooOld, None, message);
    }

    let answered = |rejection: &Rejection| answer.contains(&format!("err_msg={rejection};"));
    if answered(&Rejection::WrongTrackingProtocol) {
        let wanted = match offer.map(|offer| offer.protocol) {
            Some(Protocol::Server) => {
                "this offer takes a transaction_id at /aff_lsr, or at /aff_goal with a=lsr."
            }
            Some(Protocol::ServerAffiliate) => {
                "this offer takes offer_id and aff_id, and no transaction_id."
            }
            Some(_) => "this offer is reported by a browser pixel, and takes no postbacks.",
            None => "the identifiers do not fit the offer.",
        };
        found(
            Problem::WrongProtocol,
            None,
            format!("Wrong tracking protocol: {wanted}"),
        );
    }
    if answered(&Rejection::IpNotWhitelisted) {
        let address = match received.sender_ip {
            Some(ip) => format!("The postback came from {ip}"),
            None => "The address of the sender is unknown".to_owned(),
        };
        let message = format!("{address}, which is not on the offer's whitelist.");
        found(Problem::AddressNotWhitelisted, None, message);
    }
    if answered(&Rejection::InvalidSecurityToken) {
        let sent = pairs(received.query())
            .chain(pairs(&received.form))
            .any(|(name, value)| name == "security_token" && !value.is_empty());
        let message = if sent {
            "The security_token that was sent is not the one that the network has applied for this advertiser."
        } else {
            "No security_token was sent, and the offer asks for the advertiser's."
        };
        found(
            Problem::SecurityTokenWrong,
            Some("security_token"),
            message.to_owned(),
        );
    }
    if answered(&Rejection::NoReferralUrl) {
        let message = "The offer asks for a Referer header, and there was none.";
        found(Problem::ReferrerMissing, None, message.to_owned());
    }
    if answered(&Rejection::DuplicateConversion) {
        let message = "This transaction has converted before, and the offer counts each only once.";
        found(Problem::Duplicate, None, message.to_owned());
    }
    if answered(&Rejection::DuplicateUniqueId) {
        let message = "A conversion of this network has this conversion_unique_id already.";
        found(
            Problem::Duplicate,
            Some("conversion_unique_id"),
            message.to_owned(),
        );
    }
    let invalid = Postback::parameters().find(|name| answered(&Rejection::InvalidParameter(name)));
    if let Some(name) = invalid {
        let message =
            format!("The value of {name} is missing, cannot be read, or does not fit the offer.");
        found(Problem::InvalidValue, Some(name), message);
    }
    findings
}

/// What is wrong with a text that is not a transaction ID of this network.
pub fn not_genuine(text: &str) -> (Problem, String) {
    let text = text.trim().to_ascii_lowercase();
    let count = text.chars().count();
    let stranger = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() || "ilou".contains(*c));
    if let Some(stranger) = stranger {
        let stranger = Echo::new(&stranger.to_string());
        let message = format!(
            "The transaction ID has a character that no ID of this network has: \"{stranger}\"."
        );
        (Problem::TransactionIdMalformed, message)
    } else if count < LENGTH {
        let message = format!(
            "The transaction ID is cut off: it has {count} of {LENGTH} characters, {} are missing.",
            LENGTH - count
        );
        (Problem::TransactionIdCutOff, message)
    } else if count > LENGTH {
        let message =
            format!("The transaction ID is too long: it has {count} characters, and not {LENGTH}.");
        (Problem::TransactionIdMalformed, message)
    } else {
        let says = Unverified::read(&text).map_or_else(String::new, |id| {
            format!(
                " It names offer {} and partner {}, which need not be true.",
                id.offer, id.partner
            )
        });
        let message = format!(
            "The transaction ID was not signed by this network: mistyped, made up, or from another one.{says}"
        );
        (Problem::TransactionIdForged, message)
    }
}

/// Whether a value is the name of what should stand there: `{clickid}`, `%7Bclickid%7D`, `[amount]`, `AMOUNT`.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    let decoded = value
        .replace("%7B", "{")
        .replace("%7b", "{")
        .replace("%7D", "}")
        .replace("%7d", "}");
    let wrapped = [
        ("{", "}"),
        ("[", "]"),
        ("<", ">"),
        ("%", "%"),
        ("#", "#"),
        ("$", ""),
    ]
    .into_iter()
    .any(|(open, close)| {
        decoded
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|name| name.chars().any(|c| c.is_ascii_alphabetic()))
    });
    let is_name = |name: &str| value == name.to_ascii_uppercase();
    wrapped || value.len() > 1 && (is_name("partner_id") || Postback::parameters().any(is_name))
}

/// The parameter that somebody may have meant.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map(|(_, meant)| *meant);
    alias.or_else(|| {
        Postback::parameters()
            .map(|known| (distance(&name, known), known))
            .filter(|(distance, known)| *distance <= known.len() / 3)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known)
    })
}

/// How many characters have to be put in, taken out or replaced to make one text of another (Levenshtein), for texts
/// of a few dozen bytes; a longer one is far from everything.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (place, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let cost = diagonal + usize::from(x != y);
            diagonal = *place;
            left = cost.min(left + 1).min(*place + 1);
            *place = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A span of time for people: `3 days 4 hours`, `5 minutes`.
pub fn span(span: chrono::TimeDelta) -> String {
    let minutes = span.num_minutes();
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} minutes"),
        (0, hours, minutes) => format!("{hours} hours {minutes} minutes"),
        (days, hours, _) => format!("{days} days {hours} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::transaction_id::{ClickTime, PageName};
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        "2026-06-01T00:00:00Z".parse().expect("a time")
    }

    fn keyring() -> Keyring {
        Keyring::parse(&format!("1:{}", "ab".repeat(32))).expect("keys")
    }

    fn offer(fields: &str) -> Offer {
        let json = format!(
            r#"{{"id": 1, "name": "Shop", "advertiser_id": 1, "offer_url": "https://shop.example/", "currency": "USD"
                {fields}}}"#
        );
        serde_json::from_str(&json).expect("offer")
    }

    fn id(hours: i64) -> String {
        let page = PageName::new(ClickTime::from_utc(now() - TimeDelta::hours(hours)), 5);
        let (offer, partner) = (1.try_into().expect("offer"), 2.try_into().expect("partner"));
        keyring().mint(offer, partner, page, 0).to_string()
    }

    fn received(query: &str) -> Received {
        let transaction_id = query::Query::parse(query, "")
            .ok()
            .and_then(|query| query.get("transaction_id").map(str::to_owned));
        Received {
            received_at: now(),
            method: "GET".to_owned(),
            target: format!("/aff_lsr?{query}"),
            form: String::new(),
            sender_ip: Some("192.0.2.1".parse().expect("address")),
            referrer: String::new(),
            transaction_id,
            genuine: true,
        }
    }

    fn check(query: &str, answer: &str, fields: &str, expected: &[(Problem, &str)]) {
        let findings = diagnose(
            &received(query),
            answer,
            Some(&offer(fields)),
            Some(&keyring()),
        );
        assert_eq!(findings.len(), expected.len(), "{query}: {findings:?}");
        for (finding, (problem, message)) in findings.iter().zip(expected) {
            assert_eq!(finding.problem, *problem, "{query}");
            assert!(
                finding.message.contains(message),
                "{query}: {}",
                finding.message
            );
        }
    }

    #[test]
    fn finds_what_senders_get_wrong() {
        use Problem::*;
        let ok = id(1);
        check(
            &format!("transaction_id={ok}&amount=5"),
            "success=true;",
            "",
            &[],
        );
        for value in [
            "TRANSACTION_ID",
            "{payout}",
            "%7Bclickid%7D",
            "%257Bclickid%257D",
            "[id]",
        ] {
            check(
                &format!("transaction_id={value}"),
                "",
                "",
                &[(PlaceholderNotFilled, "never filled in")],
            );
        }
        check(
            &format!("transaction_id={ok}&amount=AMOUNT"),
            "success=false; err_msg=Invalid parameter amount.;",
            "",
            &[
                (PlaceholderNotFilled, "amount has the value AMOUNT"),
                (InvalidValue, "amount"),
            ],
        );
        check(
            &format!("transaction_id={ok}&amonut=5&clickid=x&zzz=1"),
            "",
            "",
            &[
                (UnknownParameter, "mean amount?"),
                (UnknownParameter, "mean transaction_id?"),
                (UnknownParameter, "ignored"),
            ],
        );
        check(
            &format!("transaction_id={}", &ok[..27]),
            "",
            "",
            &[(TransactionIdCutOff, "27 of 30 characters, 3 are")],
        );
        check(
            &format!("transaction_id={ok}0"),
            "",
            "",
            &[(TransactionIdMalformed, "31 characters")],
        );
        check(
            "transaction_id=12-34",
            "",
            "",
            &[(TransactionIdMalformed, "\"-\"")],
        );
        check(
            &format!("transaction_id=0{}", &ok[1..]),
            "",
            "",
            &[(TransactionIdForged, "offer 1 and partner 2")],
        );
        check(
            "amount=5",
            "",
            "",
            &[(TransactionIdMissing, "landing page")],
        );
        check(
            &format!("transaction_id={}", id(26)),
            "",
            r#", "session_hours": 1"#,
            &[(
                ClickTooOld,
                "1 days 2 hours old, and sessions of this offer last 1 hours: too late by 1 days 1 hours",
            )],
        );
        check(
            &format!("transaction_id={ok}&security_token=***"),
            "success=false; err_msg=Invalid advertiser security token;",
            "",
            &[(SecurityTokenWrong, "is not the one")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=Invalid advertiser security token;",
            "",
            &[(SecurityTokenWrong, "No security_token")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=IP address not whitelisted;",
            "",
            &[(AddressNotWhitelisted, "came from 192.0.2.1")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=Wrong tracking protocol;",
            r#", "protocol": "server_affiliate""#,
            &[(WrongProtocol, "offer_id and aff_id")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=No referral URL;",
            "",
            &[(ReferrerMissing, "Referer")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=Duplicate conversion;",
            "",
            &[(Duplicate, "converted before")],
        );
        check(
            &format!("transaction_id={ok}"),
            "success=false; err_msg=Duplicate conversion by unique ID;",
            "",
            &[(Duplicate, "conversion_unique_id")],
        );
    }

    #[test]
    fn measures_the_distance_of_names() {
        let check =
            |a: &str, b: &str, expected: usize| assert_eq!(distance(a, b), expected, "{a} {b}");
        check("", "abc", 3);
        check("abc", "abc", 0);
        check("amonut", "amount", 2);
        check("kitten", "sitting", 3);
        check(&"a".repeat(65), "a", usize::MAX);
    }

    proptest! {
        #[test]
        fn reads_anything_without_panic(query in ".{0,80}", answer in ".{0,40}") {
            diagnose(&received(&query), &answer, None, Some(&keyring()));
            not_genuine(&query);
        }
    }
}
