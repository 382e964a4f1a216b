//! What is handed to partners and advertisers: tracking links and postback URLs.

use serde::Serialize;
use url::form_urlencoded;

use super::params::{InvalidParameter, pairs};
use crate::tracking::id::{GoalId, OfferId, PartnerId};
use crate::tracking::offer::{FIRST_LINK_VERSION, Offer, OfferDocument, Protocol};
use crate::tracking::query;
use crate::tracking::values::SubIds;

/// A URL to hand on.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HandOut {
    /// The URL.
    pub url: String,
}

/// The tracking link of a partner for an offer.
///
/// # Errors
/// Names the parameter that is wrong. Those that Tidemark does not know are kept: they reach the advertiser.
pub fn tracking_link(
    origin: &str,
    offer: &Offer,
    query: &str,
) -> Result<(PartnerId, HandOut), InvalidParameter> {
    let mut partner = None;
    let mut link = form_urlencoded::Serializer::new(String::new());
    let mut values = Vec::new();
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "partner_id" if partner.is_none() => {
                let id: PartnerId =
                    value
                        .parse()
                        .map_err(|error: crate::tracking::id::IdError| {
                            InvalidParameter::new("partner_id", error.to_string())
                        })?;
                partner = Some(id);
            }
            "partner_id" | "offer_id" | "aff_id" | "lv" | "format" => {
                return Err(InvalidParameter::new(
                    &name,
                    "has its place in the link already",
                ));
            }
            _ if SubIds::index_of(&name).is_some() && query::is_too_long(&value) => {
                return Err(InvalidParameter::new(
                    &name,
                    "is longer than 500 characters",
                ));
            }
            _ => values.push((name, value)),
        }
    }
    let partner = partner.ok_or_else(|| InvalidParameter::new("partner_id", "is missing"))?;
    link.append_pair("offer_id", &offer.id.to_string());
    link.append_pair("aff_id", &partner.to_string());
    if offer.link_version != FIRST_LINK_VERSION {
        link.append_pair("lv", &offer.link_version.to_string());
    }
    link.extend_pairs(values);
    let url = format!("{origin}/aff_c?{}", link.finish());
    Ok((partner, HandOut { url }))
}

/// Why there is no postback URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPostbackUrl {
    /// The offer is reported by a browser pixel.
    Pixel,
    /// It has no such goal.
    UnknownGoal,
}

/// The postback URL of an offer or one of its goals, with the names of what the advertiser fills in, in capitals.
///
/// # Errors
/// When the offer takes no postbacks, or has no such goal.
pub fn postback_url(
    origin: &str,
    document: &OfferDocument,
    goal: Option<GoalId>,
) -> Result<HandOut, NoPostbackUrl> {
    let OfferDocument {
        offer, advertiser, ..
    } = document;
    let mut url = match goal {
        None => format!("{origin}/aff_lsr?"),
        Some(goal) if offer.goals.by_id(goal).is_some() => {
            format!("{origin}/aff_goal?a=lsr&goal_id={goal}&")
        }
        Some(_) => return Err(NoPostbackUrl::UnknownGoal),
    };
    match offer.protocol {
        Protocol::Server => url.push_str("transaction_id=TRANSACTION_ID"),
        Protocol::ServerAffiliate => url.push_str(&by_partner(offer.id)),
        Protocol::Http | Protocol::Https | Protocol::HttpImg | Protocol::HttpsImg => {
            return Err(NoPostbackUrl::Pixel);
        }
    }
    url.push_str("&amount=AMOUNT");
    if offer.unique_id {
        url.push_str("&conversion_unique_id=CONVERSION_UNIQUE_ID");
    }
    let token = advertiser
        .security_token
        .as_ref()
        .filter(|_| offer.security_token);
    if let Some(token) = token {
        let token: String = form_urlencoded::byte_serialize(token.reveal().as_bytes()).collect();
        url.push_str("&security_token=");
        url.push_str(&token);
    }
    Ok(HandOut { url })
}

fn by_partner(offer: OfferId) -> String {
    format!("offer_id={offer}&aff_id=AFF_ID")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(fields: &str) -> OfferDocument {
        let json = format!(
            r#"{{"v": 1, "offer": {{"id": 1, "name": "Shop", "advertiser_id": 1, "offer_url": "https://shop.example/",
                "currency": "USD", "goals": [{{"id": 2, "name": "Sale"}}]{fields}}},
                "advertiser": {{"id": 1, "name": "Shop Inc", "security_token": "a b&c"}}}}"#
        );
        serde_json::from_str(&json).expect("document")
    }

    #[test]
    fn makes_tracking_links() {
        let check = |fields: &str, query: &str, expected: &str| {
            let link = tracking_link("https://t.example", &document(fields).offer, query);
            let text = match link {
                Ok((_, link)) => link.url,
                Err(error) => error.to_string(),
            };
            assert_eq!(text, expected);
        };
        check(
            "",
            "partner_id=2",
            "https://t.example/aff_c?offer_id=1&aff_id=2",
        );
        check(
            r#", "link_version": 3"#,
            "partner_id=2&aff_sub=a%26b%20c&x=%C3%A9",
            "https://t.example/aff_c?offer_id=1&aff_id=2&lv=3&aff_sub=a%26b+c&x=%C3%A9",
        );
        check("", "", "partner_id: is missing");
        check("", "partner_id=x", "partner_id: is not a number");
        check(
            "",
            "partner_id=2&aff_id=3",
            "aff_id: has its place in the link already",
        );
        check(
            "",
            &format!("partner_id=2&source={}", "x".repeat(501)),
            "source: is longer than 500 characters",
        );
    }

    #[test]
    fn makes_postback_urls() {
        let check = |fields: &str, goal: Option<u32>, expected: Result<&str, NoPostbackUrl>| {
            let goal = goal.map(|goal| goal.try_into().expect("an ID"));
            let made = postback_url("https://t.example", &document(fields), goal);
            assert_eq!(
                made.map(|hand_out| hand_out.url),
                expected.map(str::to_owned)
            );
        };
        check(
            "",
            None,
            Ok("https://t.example/aff_lsr?transaction_id=TRANSACTION_ID&amount=AMOUNT"),
        );
        check(
            r#", "unique_id": true, "security_token": true"#,
            Some(2),
            Ok(
                "https://t.example/aff_goal?a=lsr&goal_id=2&transaction_id=TRANSACTION_ID&amount=AMOUNT\
                &conversion_unique_id=CONVERSION_UNIQUE_ID&security_token=a+b%26c",
            ),
        );
        check(
            r#", "protocol": "server_affiliate""#,
            None,
            Ok("https://t.example/aff_lsr?offer_id=1&aff_id=AFF_ID&amount=AMOUNT"),
        );
        check(r#", "protocol": "http""#, None, Err(NoPostbackUrl::Pixel));
        check("", Some(3), Err(NoPostbackUrl::UnknownGoal));
    }
}
