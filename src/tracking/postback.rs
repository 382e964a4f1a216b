//! A postback: query -> who is meant -> checks -> [`Claim`] or [`Rejection`].
//!
//! It goes in two steps, because the offer has to be fetched between them: [`Postback::subject`] says which offer is
//! meant, and [`Postback::check`] runs the checks in the order of the contract.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::click_page::Session;
use super::conversion::{Claim, Conversion, ConvertedClick, SessionState, Status, Uniqueness};
use super::id::{GoalId, OfferId, PartnerId};
use super::money::{Currency, Money, Rate};
use super::offer::{Goal, Offer, OfferDocument, Protocol};
use super::partner::{Partner, PartnerStatus};
use super::query::{self, Query, QueryTooLong};
use super::rejection::{Echo, Rejection};
use super::transaction_id::{Keyring, TransactionId};
use super::values::{AdvertiserValues, SubIds};

/// The parameters that stand alone; beside them, there are those of [`AdvertiserValues`] and [`SubIds`].
const PARAMETERS: [&str; 13] = [
    "transaction_id",
    "offer_id",
    "aff_id",
    "goal_id",
    "goal_ref",
    "amount",
    "currency",
    "conversion_unique_id",
    "security_token",
    "promo_code",
    "status",
    "format",
    "a",
];

/// Where a postback arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/aff_lsr`.
    Lsr,
    /// `/aff_goal`, which wants `a=lsr`: its other actions are browser pixels.
    Goal,
}

impl Endpoint {
    /// The endpoint with a path.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/aff_lsr" => Some(Self::Lsr),
            "/aff_goal" => Some(Self::Goal),
            _ => None,
        }
    }
}

/// A postback as it was sent.
pub struct Postback<'q> {
    endpoint: Endpoint,
    query: Query<'q>,
}

/// What a postback says it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A click of this network: the ID is genuine.
    Click(TransactionId),
    /// An offer, and a partner where a readable one is named.
    Partner(OfferId, Option<PartnerId>),
}

impl Subject {
    /// The offer, whose document and ledger are needed.
    pub fn offer(&self) -> OfferId {
        match self {
            Self::Click(id) => id.offer,
            Self::Partner(offer, _) => *offer,
        }
    }
}

/// What the configuration has for a [`Subject`].
#[derive(Clone, Copy, Debug)]
pub struct Configured<'c> {
    /// The offer's document.
    pub document: &'c OfferDocument,
    /// The partner; only asked for in a postback by partner ID.
    pub partner: Option<&'c Partner>,
}

/// What the runtime knows of the sender.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'s> {
    /// The IP address.
    pub ip: Option<IpAddr>,
    /// The `Referer` header.
    pub referrer: Option<&'s str>,
}

/// A postback that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the sender is told.
    pub rejection: Rejection,
    /// What the ledger keeps of it: refusals with a code.
    pub record: Option<Box<Conversion>>,
}

/// A check that needs no earlier conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The click is young enough.
    Expiry,
    /// The identifiers and the endpoint fit the offer's protocol.
    Protocol,
    /// The sender's address is on the offer's whitelist.
    Whitelist,
    /// The advertiser's token.
    SecurityToken,
    /// The `Referer` header.
    Referral,
    /// All other parameters can be read.
    Parameters,
    /// There is a `conversion_unique_id` where the offer asks for one.
    UniqueId,
}

impl Check {
    /// In the order of the contract: the sender is told of the first that fails.
    const IN_ORDER: [Self; 7] = [
        Self::Expiry,
        Self::Protocol,
        Self::Whitelist,
        Self::SecurityToken,
        Self::Referral,
        Self::Parameters,
        Self::UniqueId,
    ];
}

/// Whether a click is older than its offer's sessions last.
pub fn is_expired(id: &TransactionId, offer: &Offer, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(id.clicked_at()) > offer.session_hours.duration()
}

impl<'q> Postback<'q> {
    /// Reads the query, and the form of a POST.
    ///
    /// # Errors
    /// When one of the two is too long.
    pub fn parse(endpoint: Endpoint, query: &'q str, form: &'q str) -> Result<Self, QueryTooLong> {
        let query = Query::parse(query, form)?;
        Ok(Self { endpoint, query })
    }

    /// The names of all parameters that a postback may have.
    pub fn parameters() -> impl Iterator<Item = &'static str> {
        PARAMETERS
            .into_iter()
            .chain(AdvertiserValues::NAMES)
            .chain(SubIds::NAMES)
    }

    /// Whether the answer is to be JSON.
    pub fn wants_json(&self) -> bool {
        self.query.get("format") == Some("json")
    }

    /// Which click or offer is meant.
    ///
    /// # Errors
    /// When there is a transaction ID that is not genuine, or neither an ID nor an offer.
    pub fn subject(&self, keyring: &Keyring) -> Result<Subject, Rejection> {
        if let Some(id) = self.query.get("transaction_id") {
            return keyring
                .verify(id)
                .map(Subject::Click)
                .map_err(|_| Rejection::InvalidTransactionId(Echo::new(id)));
        }
        match self.query.get("offer_id").map(str::parse) {
            Some(Ok(offer)) => {
                let partner = self.query.get("aff_id").and_then(|id| id.parse().ok());
                Ok(Subject::Partner(offer, partner))
            }
            _ => Err(Self::no_transaction_id()),
        }
    }

    fn fits_endpoint(&self) -> bool {
        match self.endpoint {
            Endpoint::Lsr => true,
            Endpoint::Goal => self.query.get("a") == Some("lsr"),
        }
    }

    fn no_transaction_id() -> Rejection {
        Rejection::InvalidTransactionId(Echo::new(""))
    }

    /// Runs all checks but those that need to know the earlier conversions, and computes payout and revenue.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(
        &self,
        subject: &Subject,
        configured: Configured<'_>,
        session: Option<Session<'static>>,
        sender: Sender<'_>,
        now: DateTime<Utc>,
    ) -> Result<Claim, Refusal> {
        let offer = &configured.document.offer;
        let goal = self.goal(offer);
        let terms = Terms::of(offer, goal.as_ref().ok().copied().flatten());
        let amount = self.parsed::<Money>("amount").ok().flatten();
        let due = |rate: Rate| rate.due(amount);
        let (partner_id, click, session) = match subject {
            Subject::Click(id) => {
                let click = ConvertedClick {
                    transaction_id: id.to_string(),
                    clicked_at: id.clicked_at(),
                    session_state: match session {
                        Some(_) => SessionState::Recorded,
                        None => SessionState::Awaited,
                    },
                };
                (id.partner, Some(click), session.unwrap_or_default())
            }
            Subject::Partner(_, Some(partner)) => {
                let session = Session {
                    sub_ids: SubIds::from_fn(|name| self.text(name)),
                    ..Session::default()
                };
                (*partner, None, session)
            }
            Subject::Partner(_, None) => return Err(Self::without_partner(offer).into()),
        };
        let conversion = Conversion {
            click,
            session,
            partner_id,
            goal_id: terms.goal,
            status: self.status(offer).unwrap_or(Status::Approved),
            code: None,
            amount,
            sale_currency: self.parsed("currency").ok().flatten(),
            payout: due(terms.payout),
            revenue: due(terms.revenue),
            currency: offer.currency,
            received_at: now,
            sender_ip: sender.ip,
            conversion_unique_id: self.query.get("conversion_unique_id").map(str::to_owned),
            promo_code: self.query.get("promo_code").map(str::to_owned),
            advertiser_values: AdvertiserValues::from_fn(|name| self.text(name)),
        };
        let fault = self
            .checks(subject, configured, sender, now)
            .find_map(|(_, result)| result.err());
        match fault.map_or(Ok(()), Err) {
            Ok(()) => Ok(match conversion.conversion_unique_id.clone() {
                Some(unique_id) if offer.unique_id => Claim::InNetwork(conversion, unique_id),
                _ => Claim::InLedger(conversion, terms.uniqueness),
            }),
            Err(rejection) => Err(Refusal {
                record: rejection
                    .code()
                    .map(|_| Box::new(conversion.refused(&rejection))),
                rejection,
            }),
        }
    }

    /// The checks behind that of the transaction ID, in the order of the contract, with their results.
    pub fn checks<'c>(
        &'c self,
        subject: &'c Subject,
        configured: Configured<'c>,
        sender: Sender<'c>,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (Check, Result<(), Rejection>)> {
        Check::IN_ORDER
            .into_iter()
            .map(move |check| (check, self.run(check, subject, configured, sender, now)))
    }

    fn run(
        &self,
        check: Check,
        subject: &Subject,
        configured: Configured<'_>,
        sender: Sender<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Rejection> {
        let OfferDocument {
            offer, advertiser, ..
        } = configured.document;
        let (holds, rejection) = match check {
            Check::Expiry => match subject {
                Subject::Click(id) => (
                    !is_expired(id, offer, now),
                    Rejection::ExpiredTransactionId(*id),
                ),
                Subject::Partner(..) => return Ok(()),
            },
            Check::Protocol => match (subject, offer.protocol) {
                (Subject::Click(_), Protocol::Server)
                | (Subject::Partner(..), Protocol::ServerAffiliate) => {
                    (self.fits_endpoint(), Rejection::WrongTrackingProtocol)
                }
                (Subject::Partner(..), Protocol::Server) => (false, Self::no_transaction_id()),
                _ => (false, Rejection::WrongTrackingProtocol),
            },
            Check::Whitelist => (
                offer.whitelist.admits(sender.ip),
                Rejection::IpNotWhitelisted,
            ),
            Check::SecurityToken => {
                let sent = self.query.get("security_token").unwrap_or_default();
                let token = advertiser.security_token.as_ref();
                (
                    !offer.security_token || token.is_some_and(|token| token.matches(sent)),
                    Rejection::InvalidSecurityToken,
                )
            }
            Check::Referral => (
                !offer.referral_required
                    || sender.referrer.is_some_and(|url| !url.trim().is_empty()),
                Rejection::NoReferralUrl,
            ),
            Check::Parameters => return self.check_parameters(subject, configured),
            Check::UniqueId => (
                !offer.unique_id || self.unique_id().is_some(),
                Rejection::InvalidParameter("conversion_unique_id"),
            ),
        };
        if holds { Ok(()) } else { Err(rejection) }
    }

    /// The advertiser's number of the conversion.
    pub fn unique_id(&self) -> Option<&str> {
        self.query.get("conversion_unique_id")
    }

    /// The transaction ID, as it was sent.
    pub fn transaction_id(&self) -> Option<&str> {
        self.query.get("transaction_id")
    }

    /// The offer that is named beside or in place of the transaction ID, if a readable one is.
    pub fn offer(&self) -> Option<OfferId> {
        self.query.get("offer_id")?.parse().ok()
    }

    /// The goal to convert, and what its conversion must not repeat; the default conversion where none or an unknown
    /// one is named.
    pub fn terms(&self, offer: &Offer) -> (Option<GoalId>, Uniqueness) {
        let terms = Terms::of(offer, self.goal(offer).ok().flatten());
        (terms.goal, terms.uniqueness)
    }

    fn check_parameters(
        &self,
        subject: &Subject,
        configured: Configured<'_>,
    ) -> Result<(), Rejection> {
        let offer = &configured.document.offer;
        if let Some(named) = self.query.get("offer_id")
            && named.parse() != Ok(subject.offer())
        {
            return Err(Rejection::InvalidParameter("offer_id"));
        }
        if let Subject::Partner(..) = subject {
            let may_run = |partner: &Partner| {
                partner.status == PartnerStatus::Active && offer.admits(partner.id)
            };
            if !configured.partner.is_some_and(may_run) {
                return Err(Rejection::InvalidParameter("aff_id"));
            }
        }
        let terms = Terms::of(offer, self.goal(offer)?);
        let amount = self.parsed::<Money>("amount")?;
        let sale_currency = self.parsed::<Currency>("currency")?;
        self.status(offer)?;
        // A share of a sale in another currency cannot be computed: there are no exchange rates here.
        let takes_share = terms.payout.percent.is_some() || terms.revenue.percent.is_some();
        if amount.is_some()
            && takes_share
            && sale_currency.is_some_and(|currency| currency != offer.currency)
        {
            return Err(Rejection::InvalidParameter("currency"));
        }
        let texts = ["conversion_unique_id", "promo_code"];
        let names = AdvertiserValues::NAMES
            .into_iter()
            .chain(SubIds::NAMES)
            .chain(texts);
        for name in names {
            if self.query.get(name).is_some_and(query::is_too_long) {
                return Err(Rejection::InvalidParameter(name));
            }
        }
        Ok(())
    }

    /// An offer is named, but neither a click nor a readable partner.
    fn without_partner(offer: &Offer) -> Rejection {
        match offer.protocol {
            Protocol::ServerAffiliate => Rejection::InvalidParameter("aff_id"),
            _ => Self::no_transaction_id(),
        }
    }

    /// The goal that is named, by ID or reference; `None` for the default conversion.
    fn goal<'o>(&self, offer: &'o Offer) -> Result<Option<&'o Goal>, Rejection> {
        if let Some(id) = self.query.get("goal_id") {
            id.parse()
                .ok()
                .and_then(|id| offer.goals.by_id(id))
                .map(Some)
                .ok_or(Rejection::InvalidParameter("goal_id"))
        } else if let Some(reference) = self.query.get("goal_ref") {
            offer
                .goals
                .by_reference(reference)
                .map(Some)
                .ok_or(Rejection::InvalidParameter("goal_ref"))
        } else {
            Ok(None)
        }
    }

    /// The status to record: what the advertiser says, unless it is for the network to approve.
    fn status(&self, offer: &Offer) -> Result<Status, Rejection> {
        let said = self.parsed("status")?.unwrap_or(Status::Approved);
        Ok(match said {
            Status::Approved if offer.approval => Status::Pending,
            said => said,
        })
    }

    /// A parameter of a type that can be wrong.
    fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, Rejection> {
        self.query
            .get(name)
            .map(|text| text.parse().map_err(|_| Rejection::InvalidParameter(name)))
            .transpose()
    }

    fn text(&self, name: &str) -> String {
        self.query.get(name).unwrap_or_default().to_owned()
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self {
            rejection,
            record: None,
        }
    }
}

/// What holds for a conversion: the goal's own terms, or the offer's.
struct Terms {
    goal: Option<GoalId>,
    payout: Rate,
    revenue: Rate,
    uniqueness: Uniqueness,
}

impl Terms {
    fn of(offer: &Offer, goal: Option<&Goal>) -> Self {
        let (payout, revenue, multiple) = match goal {
            Some(goal) => (goal.payout, goal.revenue, goal.multiple_conversions),
            None => (offer.payout, offer.revenue, offer.multiple_conversions),
        };
        Self {
            goal: goal.map(|goal| goal.id),
            payout,
            revenue,
            // A postback by partner ID names no transaction that could repeat: each one counts, as rebills need it.
            uniqueness: if multiple || offer.protocol == Protocol::ServerAffiliate {
                Uniqueness::Unlimited
            } else {
                Uniqueness::Transaction
            },
        }
    }
}

#[cfg(test)]
mod tests;
