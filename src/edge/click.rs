//! `GET /aff_c`: a visitor follows a tracking link.
//!
//! When the directory knows offer and partner, nothing is awaited.

use std::rc::Rc;

use futures_util::future::join;
use serde::Serialize;
use worker::{Context, Response, Result};

use super::click_recorder::{self, Place};
use super::directory::{self, Document};
use super::request::Request;
use super::settings::Settings;
use super::{Unreachable, log, respond, runtime};
use crate::catalog::copies::Known;
use crate::tracking::click::{self, Click, ClickRefusal, Format, Visitor};
use crate::tracking::click_page::Session;
use crate::tracking::offer::OfferDocument;
use crate::tracking::offer_url::Macro;
use crate::tracking::partner::Partner;

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
    let (keyring, kv) = match (&settings.keyring, &settings.kv) {
        (Ok(keyring), Ok(kv)) => (keyring, kv),
        (Err(error), _) | (_, Err(error)) => return respond::misconfigured(error),
    };
    let now = runtime::now();
    let offer = &document.offer;
    let is_visit = request.method() == "GET";
    let place = if is_visit {
        click_recorder::place(now, kv, settings, context)
    } else {
        click_recorder::unrecorded_place(now)
    };
    let (Place { page, position }, random) = match (place, random_for(document)) {
        (Ok(place), Ok(random)) => (place, random),
        (Err(error), _) | (_, Err(error)) => {
            log::error("no_random_bytes", &error);
            return respond::unavailable_click();
        }
    };
    let id = keyring.mint(click.offer, click.partner, page, position);

    let cf = request.cf();
    let ip = request.ip().map(|ip| ip.to_string()).unwrap_or_default();
    let country = cf.and_then(worker::Cf::country).unwrap_or_default();
    let if_used = |name, read: &dyn Fn() -> Option<String>| {
        if offer.offer_url.uses(name) {
            read().unwrap_or_default()
        } else {
            String::new()
        }
    };
    let visitor = Visitor {
        ip: &ip,
        user_agent: &if_used(Macro::UserAgent, &|| request.header("User-Agent")),
        country_code: &country,
        region_code: &if_used(Macro::RegionCode, &|| cf?.region_code()),
        city: &if_used(Macro::City, &|| cf?.city()),
        random,
    };
    let url = match click.landing_url(&id, document, partner, &visitor, now) {
        Ok(url) => url,
        Err(refusal) => return respond::refused_click(refusal),
    };
    if is_visit {
        let session = Session {
            country,
            ip,
            sub_ids: click.sub_ids.clone(),
        };
        let expires = now
            .checked_add_signed(offer.session_hours.duration())
            .unwrap_or(now);
        click_recorder::record(&id, &session, expires, kv, settings, context);
    }
    match click.format {
        Format::Redirect => respond::redirect(&url),
        Format::Json => {
            let transaction_id = id.as_str();
            respond::json(&Minted {
                transaction_id,
                url,
            })
        }
    }
}

fn random_for(document: &OfferDocument) -> std::result::Result<u32, getrandom::Error> {
    if document.offer.offer_url.uses(Macro::Ran) {
        runtime::random()
    } else {
        Ok(0)
    }
}
