//! What the network configures: advertisers, partners, offers.
//!
//! A whole network is read from one file, judged, and turned into the documents that the edge decides by.

pub mod copies;

use serde::Deserialize;

use crate::json::{self, JsonError};
use crate::tracking::offer::{Advertiser, DocumentVersion, Offer, OfferDocument};
use crate::tracking::partner::Partner;

/// Everything that a network has configured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    advertisers: Vec<Advertiser>,
    partners: Vec<Partner>,
    offers: Vec<Offer>,
}

/// A document in KV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its key.
    pub key: String,
    /// Its JSON.
    pub value: String,
}

impl Network {
    /// Reads a network and judges every part of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(json: &str) -> Result<Self, JsonError> {
        let network: Self = json::read(json)?;
        unique(
            "advertisers",
            network
                .advertisers
                .iter()
                .map(|advertiser| u32::from(advertiser.id)),
        )?;
        unique(
            "partners",
            network.partners.iter().map(|partner| u32::from(partner.id)),
        )?;
        unique(
            "offers",
            network.offers.iter().map(|offer| u32::from(offer.id)),
        )?;
        Ok(network)
    }

    /// The documents to publish, one for each partner and offer.
    ///
    /// # Errors
    /// When an offer names an advertiser that is not there, or asks for a token that its advertiser does not have.
    pub fn documents(&self) -> Result<Vec<Published>, JsonError> {
        let partners = self.partners.iter().map(|partner| {
            Ok(Published {
                key: Partner::key(partner.id),
                value: json::write(partner),
            })
        });
        let offers = self.offers.iter().enumerate().map(|(index, offer)| {
            let at = |field: &str, reason: &str| JsonError {
                field: format!("offers[{index}].{field}"),
                reason: reason.to_owned(),
            };
            let advertiser = self
                .advertisers
                .iter()
                .find(|advertiser| advertiser.id == offer.advertiser_id)
                .ok_or_else(|| at("advertiser_id", "no such advertiser"))?;
            if offer.security_token && advertiser.security_token.is_none() {
                return Err(at("security_token", "the advertiser has no token"));
            }
            let document = OfferDocument {
                version: DocumentVersion,
                offer: offer.clone(),
                advertiser: advertiser.clone(),
            };
            Ok(Published {
                key: OfferDocument::key(offer.id),
                value: json::write(&document),
            })
        });
        partners.chain(offers).collect()
    }
}

fn unique(list: &str, ids: impl Iterator<Item = u32>) -> Result<(), JsonError> {
    let mut seen = std::collections::HashSet::new();
    for (index, id) in ids.enumerate() {
        if !seen.insert(id) {
            return Err(JsonError {
                field: format!("{list}[{index}].id"),
                reason: format!("{id} stands twice"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../demo/network.json");

    #[test]
    fn the_demo_network_is_right() {
        let documents = Network::parse(DEMO)
            .and_then(|network| network.documents())
            .expect("documents");
        let keys: Vec<&str> = documents
            .iter()
            .map(|document| document.key.as_str())
            .collect();
        assert_eq!(keys[..3], ["partner:2", "partner:3", "offer:1"]);
        for document in &documents[2..] {
            serde_json::from_str::<OfferDocument>(&document.value).expect(&document.key);
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let check = |from: &str, to: &str, message: &str| {
            assert!(DEMO.contains(from), "{from}");
            let error = Network::parse(&DEMO.replacen(from, to, 1))
                .and_then(|network| network.documents())
                .expect_err(to);
            assert!(error.to_string().contains(message), "{error}");
        };
        check(
            "{transaction_id}",
            "{transaction}",
            "offers[0].offer_url: holds {transaction} at byte",
        );
        check(
            "\"1.50\"",
            "\"1.5O\"",
            "offers[0].payout: is not a decimal number",
        );
        check(
            "203.0.113.0/24",
            "203.0.113.0/33",
            "offers[1].whitelist[0]: is not an IP address",
        );
        check(
            "\"status\": \"blocked\"",
            "\"status\": \"banned\"",
            "partners[1].status: unknown variant `banned`",
        );
        check(
            "\"id\": 3, \"name\": \"Blocked",
            "\"id\": 2, \"name\": \"Blocked",
            "partners[1].id: 2 stands twice",
        );
        check(
            "\"advertiser_id\": 1",
            "\"advertiser_id\": 9",
            "offers[0].advertiser_id: no such advertiser",
        );
        check(
            "\"security_token\": \"7ab20d21771b1e81bc5bae84cc89b913\"",
            "\"ref\": \"\"",
            "offers[2].security_token: the advertiser has no token",
        );
        check("\"currency\"", "\"curency\"", "unknown field `curency`");
        check("{", "[", "");
    }
}
