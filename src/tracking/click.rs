//! A click: query -> [`Click`] -> admitted or refused -> the URL to go to.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Timelike, Utc};
use thiserror::Error;

use super::id::{IdError, OfferId, PartnerId};
use super::offer::{FIRST_LINK_VERSION, Offer, OfferDocument};
use super::offer_url::{ExpandedTooLong, Macro, encode};
use super::partner::{Partner, PartnerStatus};
use super::query::{self, QueryTooLong};
use super::transaction_id::TransactionId;
use super::values::SubIds;

/// A tracking link that was followed, as far as its query tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click<'q> {
    /// The offer that is asked for.
    pub offer: OfferId,
    /// The partner who sent the visitor.
    pub partner: PartnerId,
    /// The partner's own values.
    pub sub_ids: SubIds<'q>,
    /// The version of the offer that the link was made for.
    pub link_version: u32,
    /// How to answer.
    pub format: Format,
    /// All other parameters in their order, encoded and joined by `&`.
    pub params: String,
}

/// How to answer a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a redirect.
    Redirect,
    /// With the transaction ID and the URL as JSON.
    Json,
}

/// What the runtime knows of the visitor; empty where it knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visitor<'v> {
    /// The IP address.
    pub ip: &'v str,
    /// The `User-Agent` header.
    pub user_agent: &'v str,
    /// ISO 3166-1 alpha-2.
    pub country_code: &'v str,
    /// ISO 3166-2, without the country.
    pub region_code: &'v str,
    /// The city, in English.
    pub city: &'v str,
    /// For `{ran}`.
    pub random: u32,
}

/// Why a click does not reach the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClickRefusal {
    #[error("Its query is longer than 8 KB.")]
    QueryTooLong,
    #[error("The parameter {0} is missing.")]
    Missing(&'static str),
    #[error("The parameter {0} {1}.")]
    BadNumber(&'static str, IdError),
    #[error("The parameter {0} is longer than 500 characters.")]
    ValueTooLong(&'static str),
    #[error("With these values, the address of the offer is too long.")]
    ExpandedTooLong,
    #[error("There is no such offer: look at offer_id.")]
    UnknownOffer,
    #[error("There is no such partner: look at aff_id.")]
    UnknownPartner,
    #[error("This offer is closed.")]
    Closed,
    #[error("This link is out of date: the offer needs a new one.")]
    StaleLink,
    #[error("This partner cannot send visitors at present.")]
    PartnerBlocked,
    #[error("This partner is not approved for the offer.")]
    PartnerNotApproved,
}

impl ClickRefusal {
    /// The HTTP status, where there is no fallback to go to.
    pub fn status(self) -> u16 {
        match self {
            Self::QueryTooLong => 414,
            Self::Missing(_)
            | Self::BadNumber(..)
            | Self::ValueTooLong(_)
            | Self::ExpandedTooLong => 400,
            Self::UnknownOffer | Self::UnknownPartner => 404,
            Self::Closed | Self::StaleLink => 410,
            Self::PartnerBlocked | Self::PartnerNotApproved => 403,
        }
    }

    /// Whether the visitor goes to the fallback URL of the offer or the network, if there is one.
    pub fn falls_back(self) -> bool {
        match self {
            Self::Closed | Self::StaleLink | Self::PartnerBlocked | Self::PartnerNotApproved => {
                true
            }
            Self::QueryTooLong
            | Self::Missing(_)
            | Self::BadNumber(..)
            | Self::ValueTooLong(_)
            | Self::ExpandedTooLong
            | Self::UnknownOffer
            | Self::UnknownPartner => false,
        }
    }
}

impl From<QueryTooLong> for ClickRefusal {
    fn from(_: QueryTooLong) -> Self {
        Self::QueryTooLong
    }
}

impl From<ExpandedTooLong> for ClickRefusal {
    fn from(_: ExpandedTooLong) -> Self {
        Self::ExpandedTooLong
    }
}

impl<'q> Click<'q> {
    /// Reads the query of a tracking link. The first of a repeated name wins; parameters that Tidemark does not know
    /// are all kept.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn parse(query: &'q str) -> Result<Self, ClickRefusal> {
        let mut offer = None;
        let mut partner = None;
        let mut link_version = None;
        let mut format = None;
        let mut sub_ids: [Option<Cow<'q, str>>; SubIds::NAMES.len()] = Default::default();
        let mut params = String::new();
        for (name, value) in query::pairs(query)? {
            match name.as_ref() {
                "offer_id" => offer = offer.or(Some(value)),
                "aff_id" => partner = partner.or(Some(value)),
                "lv" => link_version = link_version.or(Some(value)),
                "format" => format = format.or(Some(value)),
                name => {
                    if let Some(place) =
                        SubIds::index_of(name).and_then(|index| sub_ids.get_mut(index))
                    {
                        place.get_or_insert(value);
                    } else {
                        if !params.is_empty() {
                            params.push('&');
                        }
                        params.extend(encode(name));
                        params.push('=');
                        params.extend(encode(&value));
                    }
                }
            }
        }
        for (name, value) in SubIds::NAMES.into_iter().zip(&sub_ids) {
            if value
                .as_ref()
                .is_some_and(|value| query::is_too_long(value))
            {
                return Err(ClickRefusal::ValueTooLong(name));
            }
        }
        let mut sub_ids = sub_ids.into_iter();
        Ok(Self {
            offer: required("offer_id", offer)?,
            partner: required("aff_id", partner)?,
            sub_ids: SubIds::from_fn(|_| sub_ids.next().flatten().unwrap_or_default()),
            link_version: match link_version {
                Some(version) if !version.is_empty() => version
                    .parse()
                    .map_err(|_| ClickRefusal::BadNumber("lv", IdError::NotANumber))?,
                _ => FIRST_LINK_VERSION,
            },
            format: if format.is_some_and(|format| format == "json") {
                Format::Json
            } else {
                Format::Redirect
            },
            params,
        })
    }

    /// Decides whether the click goes to the offer.
    ///
    /// # Errors
    /// Says why not.
    pub fn admit(
        &self,
        offer: &Offer,
        partner: &Partner,
        now: DateTime<Utc>,
    ) -> Result<(), ClickRefusal> {
        if !offer.is_open(now) {
            Err(ClickRefusal::Closed)
        } else if self.link_version != offer.link_version {
            Err(ClickRefusal::StaleLink)
        } else if partner.status == PartnerStatus::Blocked {
            Err(ClickRefusal::PartnerBlocked)
        } else if !offer.admits(partner.id) {
            Err(ClickRefusal::PartnerNotApproved)
        } else {
            Ok(())
        }
    }

    /// The URL to send the visitor to.
    ///
    /// # Errors
    /// When the values make it too long.
    pub fn landing_url(
        &self,
        id: &TransactionId,
        document: &OfferDocument,
        partner: &Partner,
        visitor: &Visitor<'_>,
        now: DateTime<Utc>,
    ) -> Result<String, ClickRefusal> {
        let OfferDocument {
            offer, advertiser, ..
        } = document;
        let url = offer.offer_url.expand(|name| match name {
            Macro::TransactionId => id.as_str().into(),
            Macro::OfferId => offer.id.to_string().into(),
            Macro::OfferName => offer.name.as_str().into(),
            Macro::OfferRef => offer.reference.as_str().into(),
            Macro::AdvertiserId => advertiser.id.to_string().into(),
            Macro::AdvertiserRef => advertiser.reference.as_str().into(),
            Macro::AffiliateId => partner.id.to_string().into(),
            Macro::AffiliateName => partner.name.as_str().into(),
            Macro::AffiliateRef => partner.reference.as_str().into(),
            Macro::SubId(index) => self
                .sub_ids
                .values()
                .get(index)
                .map_or("", Cow::as_ref)
                .into(),
            Macro::CountryCode => visitor.country_code.into(),
            Macro::RegionCode => visitor.region_code.into(),
            Macro::City => visitor.city.into(),
            Macro::Ip => visitor.ip.into(),
            Macro::UserAgent => visitor.user_agent.into(),
            Macro::Date => date(now).into(),
            Macro::Time => time_of_day(now).into(),
            Macro::Datetime => format!("{} {}", date(now), time_of_day(now)).into(),
            Macro::Ran => visitor.random.to_string().into(),
            Macro::Currency => offer.currency.as_str().into(),
            // A percentage of a sale is not known before there is one.
            Macro::Payout => offer.payout.due(None).to_string().into(),
            Macro::Params => self.params.as_str().into(),
        })?;
        Ok(url)
    }
}

/// `2026-06-01`. Written out: chrono's own formatting adds some 20 KB to the module.
fn date(time: DateTime<Utc>) -> String {
    format!("{:04}-{:02}-{:02}", time.year(), time.month(), time.day())
}

/// `09:05:03`.
fn time_of_day(time: DateTime<Utc>) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn required<T: std::str::FromStr<Err = IdError>>(
    name: &'static str,
    value: Option<Cow<'_, str>>,
) -> Result<T, ClickRefusal> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(ClickRefusal::Missing(name))?
        .trim()
        .parse()
        .map_err(|error| ClickRefusal::BadNumber(name, error))
}

/// Whether a request only prepares for a visit that may never come. `header` gives a request header by its name.
///
/// Browsers announce it as `Sec-Purpose: prefetch` or `prefetch;prerender` (Fetch standard), older ones as
/// `Purpose`, `X-Purpose` (Safari: `preview`) or `X-Moz` (Firefox).
pub fn is_speculative(header: impl Fn(&str) -> Option<String>) -> bool {
    ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"]
        .into_iter()
        .filter_map(header)
        .any(|value| {
            let value = value.trim().to_ascii_lowercase();
            ["prefetch", "prerender", "preview"]
                .iter()
                .any(|purpose| value.starts_with(purpose))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::offer_url::OfferUrl;
    use crate::tracking::transaction_id::{ClickTime, Keyring, PageName};
    use proptest::prelude::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn document(fields: &str, offer_url: &str) -> OfferDocument {
        let json = format!(
            r#"{{"v": 1, "offer": {{
                "id": 1, "name": "Shop & Co", "ref": "o-1", "advertiser_id": 7, "status": "active",
                "protocol": "server", "offer_url": "{offer_url}", "payout": {{"flat": "1.5"}}, "currency": "USD"
                {fields}
            }}, "advertiser": {{"id": 7, "name": "Shop Inc", "ref": "a-7"}}}}"#
        );
        serde_json::from_str(&json).expect("document")
    }

    fn partner(status: &str) -> Partner {
        let json = format!(r#"{{"id": 2, "name": "Pub", "ref": "p-2", "status": "{status}"}}"#);
        serde_json::from_str(&json).expect("partner")
    }

    #[test]
    fn reads_a_tracking_link() {
        let click = Click::parse(
            "offer_id=1&aff_id=2&aff_sub=109581A&source=awesome+pub&x=a%26b&lv=3&x=c&format=json&y",
        )
        .expect("click");
        assert_eq!((u32::from(click.offer), u32::from(click.partner)), (1, 2));
        assert_eq!(click.sub_ids.values()[0], "awesome pub");
        assert_eq!(click.sub_ids.values()[1], "109581A");
        assert_eq!(click.link_version, 3);
        assert_eq!(click.format, Format::Json);
        assert_eq!(click.params, "x=a%26b&x=c&y=");
    }

    #[test]
    fn the_first_of_a_repeated_name_wins() {
        let click =
            Click::parse("offer_id=1&aff_id=2&offer_id=9&aff_sub=&aff_sub=b").expect("click");
        assert_eq!(u32::from(click.offer), 1);
        assert_eq!(click.sub_ids.values()[1], "");
    }

    #[test]
    fn names_the_parameter_that_is_wrong() {
        let check = |query: &str, status: u16, message: &str| {
            let refusal = Click::parse(query).expect_err(query);
            assert_eq!(
                (refusal.status(), refusal.to_string().as_str()),
                (status, message),
                "{query}"
            );
            assert!(!refusal.falls_back());
        };
        let long = "a".repeat(501);
        check("", 400, "The parameter offer_id is missing.");
        check("offer_id=1", 400, "The parameter aff_id is missing.");
        check(
            "offer_id=&aff_id=2",
            400,
            "The parameter offer_id is missing.",
        );
        check(
            "offer_id=one&aff_id=2",
            400,
            "The parameter offer_id is not a number.",
        );
        check(
            "offer_id=-1&aff_id=2",
            400,
            "The parameter offer_id is not a number.",
        );
        check(
            "offer_id=1048576&aff_id=2",
            400,
            "The parameter offer_id is not between 1 and 1048575.",
        );
        check(
            "offer_id=1&aff_id=4194304",
            400,
            "The parameter aff_id is not between 1 and 4194303.",
        );
        check(
            "offer_id=1&aff_id=2&lv=x",
            400,
            "The parameter lv is not a number.",
        );
        for name in SubIds::NAMES {
            let message = format!("The parameter {name} is longer than 500 characters.");
            check(&format!("offer_id=1&aff_id=2&{name}={long}"), 400, &message);
        }
        check(
            &format!("offer_id=1&aff_id=2&x={}", "a".repeat(8192)),
            414,
            "Its query is longer than 8 KB.",
        );
    }

    #[test]
    fn admits_or_says_why_not() {
        let check =
            |fields: &str, query: &str, status: &str, expected: Result<(), ClickRefusal>| {
                let query = format!("offer_id=1&aff_id=2{query}");
                let click = Click::parse(&query).expect("click");
                let document = document(fields, "https://shop.example/");
                let now = time("2026-06-01T12:00:00Z");
                assert_eq!(
                    click.admit(&document.offer, &partner(status), now),
                    expected,
                    "{fields} {query}"
                );
            };
        check("", "", "active", Ok(()));
        check("", "", "blocked", Err(ClickRefusal::PartnerBlocked));
        check("", "&lv=1", "active", Ok(()));
        check("", "&lv=2", "active", Err(ClickRefusal::StaleLink));
        check(
            r#", "link_version": 2"#,
            "",
            "active",
            Err(ClickRefusal::StaleLink),
        );
        check(r#", "link_version": 2"#, "&lv=2", "active", Ok(()));
        check(
            r#", "private": true"#,
            "",
            "active",
            Err(ClickRefusal::PartnerNotApproved),
        );
        check(
            r#", "private": true, "partners": [2]"#,
            "",
            "active",
            Ok(()),
        );
        check(
            r#", "expires_at": "2026-06-01T12:00:00Z""#,
            "",
            "active",
            Err(ClickRefusal::Closed),
        );
        check(
            r#", "expires_at": "2026-06-01T12:00:01Z""#,
            "",
            "active",
            Ok(()),
        );
    }

    #[test]
    fn fills_in_every_macro() {
        let key = format!("1:{}", "00".repeat(32));
        let id = Keyring::parse(&key).expect("keys").mint(
            1.try_into().expect("offer"),
            2.try_into().expect("partner"),
            PageName::new(ClickTime::from_utc(time("2026-06-01T09:05:03Z")), 5),
            0,
        );
        let visitor = Visitor {
            ip: "2001:db8::1",
            user_agent: "Mozilla/5.0 (X11)",
            country_code: "DE",
            region_code: "BE",
            city: "Köln",
            random: 42,
        };
        let check = |template: &str, expected: &str| {
            let url = format!("https://shop.example/?{template}");
            let document = document("", &url);
            let click = Click::parse("offer_id=1&aff_id=2&source=s&aff_sub=1+1&aff_sub5=e&aff_click_id=c&aff_unique5=u&x=y+z")
                .expect("click");
            let landing = click
                .landing_url(
                    &id,
                    &document,
                    &partner("active"),
                    &visitor,
                    time("2026-06-01T09:05:03.9Z"),
                )
                .expect("url");
            assert_eq!(
                landing,
                format!("https://shop.example/?{expected}"),
                "{template}"
            );
        };
        check("{transaction_id}", id.as_str());
        check(
            "{offer_id}.{offer_name}.{offer_ref}",
            "1.Shop%20%26%20Co.o-1",
        );
        check("{advertiser_id}.{advertiser_ref}", "7.a-7");
        check(
            "{affiliate_id}.{aff_id}.{affiliate_name}.{affiliate_ref}",
            "2.2.Pub.p-2",
        );
        check(
            "{source}.{aff_sub}.{aff_sub1}.{aff_sub2}.{aff_sub5}",
            "s.1%201.1%201..e",
        );
        check("{aff_click_id}.{aff_unique1}.{aff_unique5}", "c..u");
        check("{country_code}.{region_code}.{city}", "DE.BE.K%C3%B6ln");
        check(
            "{ip}.{user_agent}",
            "2001%3Adb8%3A%3A1.Mozilla%2F5.0%20%28X11%29",
        );
        check(
            "{date}.{time}.{datetime}",
            "2026-06-01.09%3A05%3A03.2026-06-01%2009%3A05%3A03",
        );
        check("{ran}.{currency}.{payout}.{params}", "42.USD.1.50.x=y%20z");
    }

    #[test]
    fn knows_a_speculative_request() {
        let check = |name: &str, value: &str, expected: bool| {
            let header = |asked: &str| (asked == name).then(|| value.to_owned());
            assert_eq!(is_speculative(header), expected, "{name}: {value}");
        };
        check("Sec-Purpose", "prefetch", true);
        check("Sec-Purpose", "prefetch;prerender", true);
        check("Sec-Purpose", "Prefetch;anonymous-client-ip", true);
        check("X-Purpose", "preview", true);
        check("X-Moz", "prefetch", true);
        check("Purpose", "prefetch", true);
        check("Sec-Purpose", "", false);
        check("X-Purpose", "visit", false);
        check("User-Agent", "prefetch", false);
    }

    proptest! {
        #[test]
        fn reads_anything_without_panic(text: String) {
            let _ = Click::parse(&text);
        }

        /// Whatever a visitor sends, the redirect goes to the owner's host and holds visible ASCII only.
        #[test]
        fn values_never_change_the_host(query: String, city: String) {
            let query = format!("offer_id=1&aff_id=2&{query}");
            let Ok(click) = Click::parse(&query) else { return Ok(()) };
            let document = document("", "https://shop.example/{source}/{city}?a={aff_sub}&{params}");
            let key = format!("1:{}", "00".repeat(32));
            let page = PageName::new(ClickTime::from_utc(DateTime::UNIX_EPOCH), 5);
            let id = Keyring::parse(&key).expect("keys").mint(click.offer, click.partner, page, 0);
            let visitor = Visitor { city: &city, ..Visitor::default() };
            let landing = click
                .landing_url(&id, &document, &partner("active"), &visitor, DateTime::UNIX_EPOCH)
                .expect("url");
            prop_assert!(landing.starts_with("https://shop.example/"));
            prop_assert!(landing.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert!(landing.parse::<OfferUrl>().is_ok(), "{}", landing);
        }
    }
}
