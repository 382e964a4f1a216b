//! `GET /aff_c`: a visitor follows a tracking link.
//!
//! When the directory knows offer and partner, nothing is awaited.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use futures_util::future::join;
use serde::Serialize;
use worker::{Context, Result};

use super::click_recorder::{self, Place};
use super::directory::{self, Document};
use super::request::{self, Request};
use super::respond::Response;
use super::settings::{Misconfigured, Settings};
use super::{Unreachable, log, respond, runtime};
use crate::catalog::copies::Known;
use crate::tracking::click::{self, Click, ClickRefusal, Format, Visitor};
use crate::tracking::click_page::Session;
use crate::tracking::offer::OfferDocument;
use crate::tracking::offer_url::Macro;
use crate::tracking::partner::Partner;
use crate::tracking::transaction_id::TransactionId;

pub(super) async fn answer(
    request: &Request,
    settings: &Rc<Settings>,
    context: &Context,
) -> Result<Response> {
    if !matches!(request.method(), "GET" | "HEAD") {
        return respond::method_not_allowed("GET, HEAD");
    }
    if click::is_speculative(|name| request.header(name)) {
        return respond::not_yet();
    }
    let click = match Click::parse(request.query()) {
        Ok(click) => click,
        Err(refusal) => return respond::refused_click(refusal),
    };
    let found = join(
        find::<OfferDocument>(click.offer, settings, context),
        find::<Partner>(click.partner, settings, context),
    );
    let (document, partner) = match found.await {
        (Ok(Some(document)), Ok(Some(partner))) => (document, partner),
        (Ok(None), _) => return respond::refused_click(ClickRefusal::UnknownOffer),
        (_, Ok(None)) => return respond::refused_click(ClickRefusal::UnknownPartner),
        (Err(Unreachable), _) | (_, Err(Unreachable)) => return respond::unavailable_click(),
    };
    match click.admit(&document.offer, &partner, runtime::now()) {
        Ok(()) => redirect(request, &click, &document, &partner, settings, context),
        Err(refusal) => {
            let fallback = document.offer.fallback_url.as_ref();
            match fallback.or_else(|| settings.network_fallback()) {
                Some(url) if refusal.falls_back() => respond::redirect(url.as_str()),
                _ => respond::refused_click(refusal),
            }
        }
    }
}

/// The document, without waiting if there is a copy that can serve.
async fn find<D: Document>(
    id: D::Id,
    settings: &Rc<Settings>,
    context: &Context,
) -> std::result::Result<Option<Rc<D>>, Unreachable> {
    match directory::look_up(id, settings) {
        Known::Fresh(document) => Ok(document),
        Known::Stale(document) => {
            let settings = Rc::clone(settings);
            context.wait_until(async move {
                // What fails is in the log, and the copy goes on serving.
                let _ = directory::read::<D>(id, &settings).await;
            });
            Ok(document)
        }
        Known::Unknown => directory::read(id, settings).await,
    }
}

/// The URL to send a visitor to, where nothing has to be awaited or read from the request; the session of a visit is left
/// to be recorded. Only of a visit are `ip` and `country` known. `None`: [`answer`] has to look at it.
pub(super) fn answer_at_once(
    url: &str,
    is_visit: bool,
    ip: &str,
    country: &str,
    settings: &Rc<Settings>,
    context: &Context,
) -> Option<String> {
    let ("/aff_c", query) = request::target(url) else {
        return None;
    };
    let click = Click::parse(query).ok()?;
    let now = runtime::now();
    let document = directory::fresh::<OfferDocument>(click.offer, now)?;
    let partner = directory::fresh::<Partner>(click.partner, now)?;
    let unread = [
        (Macro::UserAgent, true),
        (Macro::RegionCode, true),
        (Macro::City, true),
        (Macro::Ip, !is_visit),
        (Macro::CountryCode, !is_visit),
    ];
    let needs_request = unread
        .into_iter()
        .any(|(name, is_unread)| is_unread && document.offer.offer_url.uses(name));
    if needs_request || click.format != Format::Redirect {
        return None;
    }
    click.admit(&document.offer, &partner, now).ok()?;
    let visitor = Visitor {
        ip: &request::ip(ip).map(|ip| ip.to_string()).unwrap_or_default(),
        country_code: country,
        ..Visitor::default()
    };
    let visit = Visit {
        click: &click,
        document: &document,
        partner: &partner,
        visitor,
        now,
    };
    let (_, url) = visit.begin(is_visit, settings, context).ok()?;
    Some(url)
}

/// The answer to a click with `format=json`.
#[derive(Serialize)]
struct Minted<'m> {
    transaction_id: &'m str,
    url: String,
}

/// Mints the ID, answers, and leaves the session to be recorded.
fn redirect(
    request: &Request,
    click: &Click<'_>,
    document: &OfferDocument,
    partner: &Partner,
    settings: &Rc<Settings>,
    context: &Context,
) -> Result<Response> {
    let cf = request.cf();
    let cf = cf.as_ref();
    let if_used = |name, read: &dyn Fn() -> Option<String>| {
        if document.offer.offer_url.uses(name) {
            read().unwrap_or_default()
        } else {
            String::new()
        }
    };
    let visitor = Visitor {
        ip: &request.ip().map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: &if_used(Macro::UserAgent, &|| request.header("User-Agent")),
        country_code: &cf.and_then(worker::Cf::country).unwrap_or_default(),
        region_code: &if_used(Macro::RegionCode, &|| cf?.region_code()),
        city: &if_used(Macro::City, &|| cf?.city()),
        random: 0,
    };
    let now = runtime::now();
    let visit = Visit {
        click,
        document,
        partner,
        visitor,
        now,
    };
    match visit.begin(request.method() == "GET", settings, context) {
        Ok((_, url)) if click.format == Format::Redirect => respond::redirect(&url),
        Ok((id, url)) => respond::json(&Minted {
            transaction_id: id.as_str(),
            url,
        }),
        Err(NoVisit::Misconfigured(error)) => respond::misconfigured(&error),
        Err(NoVisit::Refused(refusal)) => respond::refused_click(refusal),
        Err(NoVisit::NoRandomBytes(error)) => {
            log::error("no_random_bytes", &error);
            respond::unavailable_click()
        }
    }
}

/// A click that the offer takes.
struct Visit<'v> {
    click: &'v Click<'v>,
    document: &'v OfferDocument,
    partner: &'v Partner,
    visitor: Visitor<'v>,
    now: DateTime<Utc>,
}

/// Why there is no visit all the same.
enum NoVisit {
    Misconfigured(Misconfigured),
    Refused(ClickRefusal),
    NoRandomBytes(getrandom::Error),
}

impl Visit<'_> {
    /// Mints the ID, fills in the offer's URL, and leaves the session to be recorded.
    fn begin(
        mut self,
        is_recorded: bool,
        settings: &Rc<Settings>,
        context: &Context,
    ) -> std::result::Result<(TransactionId, String), NoVisit> {
        let (keyring, kv) = match (&settings.keyring, &settings.kv) {
            (Ok(keyring), Ok(kv)) => (keyring, kv),
            (Err(error), _) | (_, Err(error)) => return Err(NoVisit::Misconfigured(error.clone())),
        };
        let place = if is_recorded {
            click_recorder::place(self.now, kv, settings, context)
        } else {
            click_recorder::unrecorded_place(self.now)
        };
        let Place { page, position } = place.map_err(NoVisit::NoRandomBytes)?;
        let id = keyring.mint(self.click.offer, self.click.partner, page, position);
        let offer = &self.document.offer;
        if offer.offer_url.uses(Macro::Ran) {
            self.visitor.random = runtime::random().map_err(NoVisit::NoRandomBytes)?;
        }
        let url = self
            .click
            .landing_url(&id, self.document, self.partner, &self.visitor, self.now)
            .map_err(NoVisit::Refused)?;
        if is_recorded {
            let session = Session {
                country: self.visitor.country_code.into(),
                ip: self.visitor.ip.into(),
                sub_ids: self.click.sub_ids.clone(),
            };
            let length = offer.session_hours.duration();
            let expires = self.now.checked_add_signed(length).unwrap_or(self.now);
            click_recorder::record(&id, &session, expires, kv, settings, context);
        }
        Ok((id, url))
    }
}
