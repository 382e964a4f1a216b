//! Advertisers, partners, offers, and the trail of their changes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::super::respond::{self, Response};
use super::super::{directory, object_client, runtime};
use super::problem::ApiError;
use super::{ApiResult, Call};
use crate::api::params::{self, AuditQuery, ListQuery, PostbackUrlQuery};
use crate::api::urls::{self, NoPostbackUrl};
use crate::api::view::{self, Page};
use crate::catalog::Entity;
use crate::catalog::audit::{Filter, Trail};
use crate::catalog::kind::Kind;
use crate::catalog::list::{List, Page as Entities};
use crate::catalog::message::{Action, Idempotency, Message, OBJECT_NAME, Reply, Write, Written};
use crate::tracking::id::{AdvertiserId, OfferId};
use crate::tracking::offer::OfferDocument;

/// The longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 200;

pub(super) async fn list(call: &Call<'_>, kind: Kind) -> ApiResult {
    let query = ListQuery::parse(call.request.query())?;
    let sort = query.sort.unwrap_or_default();
    let list = List {
        limit: query.limit.unwrap_or_default().0,
        after: query.cursor,
        sort: sort.0,
        descending: sort.1,
        filters: query.filters(kind)?,
    };
    let page: Entities = ask(call, &Message::List(kind, list)).await?;
    let next = page.entities.last().filter(|_| page.has_more);
    let next = next.map_or_else(String::new, |last| format!(r#","next":"{}""#, last.id));
    let items: Vec<String> = page.entities.iter().map(view::entity).collect();
    Ok(respond::json_text(
        200,
        &format!(r#"{{"items":[{}]{next}}}"#, items.join(",")),
    )?)
}

pub(super) async fn create(call: &Call<'_>, kind: Kind) -> ApiResult {
    params::none(call.request.query())?;
    let written = write(call, Action::Create(kind, call.body.to_owned())).await?;
    let response = show(&written.entity, 201)?;
    let path = call.request.path();
    let location = format!("{path}/{}", written.entity.id);
    Ok(respond::with_header(response, "Location", &location)?)
}

pub(super) async fn get(call: &Call<'_>, kind: Kind, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let entity = entity(call, kind, id).await?;
    Ok(show(&entity, 200)?)
}

pub(super) async fn change(call: &Call<'_>, kind: Kind, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let id = number(kind, id)?;
    let written = write(call, Action::Change(kind, id, call.body.to_owned())).await?;
    Ok(show(&written.entity, 200)?)
}

pub(super) async fn make_token(call: &Call<'_>, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let token = runtime::token().map_err(|_| ApiError::Unavailable)?;
    let written = write(call, Action::SetNextToken(advertiser(id)?, token)).await?;
    Ok(show(&written.entity, 200)?)
}

pub(super) async fn apply_token(call: &Call<'_>, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let written = write(call, Action::ApplyToken(advertiser(id)?)).await?;
    Ok(show(&written.entity, 200)?)
}

pub(super) async fn approve(
    call: &Call<'_>,
    offer_id: &str,
    partner: &str,
    approved: bool,
) -> ApiResult {
    params::none(call.request.query())?;
    let partner = number(Kind::Partner, partner)?
        .try_into()
        .map_err(|_| not_found(Kind::Partner))?;
    let written = write(call, Action::Approve(offer(offer_id)?, partner, approved)).await?;
    Ok(show(&written.entity, 200)?)
}

pub(super) async fn tracking_link(call: &Call<'_>, id: &str) -> ApiResult {
    let document = document(call, offer(id)?).await?;
    let (partner, link) = urls::tracking_link(
        &call.request.origin(),
        &document.offer,
        call.request.query(),
    )?;
    let _: Entity = ask(call, &Message::Get(Kind::Partner, partner.into())).await?;
    Ok(respond::json(&link)?)
}

pub(super) async fn postback_url(call: &Call<'_>, id: &str) -> ApiResult {
    let query = PostbackUrlQuery::parse(call.request.query())?;
    let document = document(call, offer(id)?).await?;
    match urls::postback_url(&call.request.origin(), &document, query.goal_id) {
        Ok(url) => Ok(respond::json(&url)?),
        Err(NoPostbackUrl::Pixel) => Err(ApiError::Conflict(
            "This offer is reported by a browser pixel, and takes no postbacks.".to_owned(),
        )),
        Err(NoPostbackUrl::UnknownGoal) => {
            Err(ApiError::NotFound("The offer has no such goal.".to_owned()))
        }
    }
}

pub(super) async fn audit(call: &Call<'_>) -> ApiResult {
    let query = AuditQuery::parse(call.request.query())?;
    let filter = Filter {
        kind: query.kind,
        id: query.entity_id,
        before: query.cursor,
        limit: query.limit.unwrap_or_default().0,
    };
    let trail: Trail = ask(call, &Message::Audit(filter)).await?;
    let next = trail.entries.last().filter(|_| trail.has_more);
    Ok(respond::json(&Page {
        next: next.map(|last| last.id.to_string()),
        items: trail.entries,
    })?)
}

/// The offers that a report or a list is about: one, those of an advertiser, or all.
pub(super) async fn offers(
    call: &Call<'_>,
    offer: Option<OfferId>,
    advertiser: Option<AdvertiserId>,
) -> ApiResult<Vec<OfferId>> {
    if let (Some(offer), None) = (offer, advertiser) {
        let _: Entity = ask(call, &Message::Get(Kind::Offer, offer.into())).await?;
        return Ok(vec![offer]);
    }
    let offers: Vec<OfferId> = ask(call, &Message::Offers(advertiser)).await?;
    Ok(offers
        .into_iter()
        .filter(|other| offer.is_none_or(|offer| offer == *other))
        .collect())
}

async fn document(call: &Call<'_>, offer: OfferId) -> ApiResult<OfferDocument> {
    ask(call, &Message::OfferDocument(offer)).await
}

async fn entity(call: &Call<'_>, kind: Kind, id: &str) -> ApiResult<Entity> {
    ask(call, &Message::Get(kind, number(kind, id)?)).await
}

fn not_found(kind: Kind) -> ApiError {
    ApiError::NotFound(format!("There is no such {}.", kind.name()))
}

fn number(kind: Kind, id: &str) -> ApiResult<u32> {
    let digits = id.bytes().all(|b| b.is_ascii_digit());
    id.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| not_found(kind))
}

fn advertiser(id: &str) -> ApiResult<AdvertiserId> {
    id.parse().map_err(|_| not_found(Kind::Advertiser))
}

/// The offer that a path names.
pub(super) fn offer(id: &str) -> ApiResult<OfferId> {
    id.parse().map_err(|_| not_found(Kind::Offer))
}

async fn write(call: &Call<'_>, action: Action) -> ApiResult<Written> {
    let idempotency = match call.request.header("Idempotency-Key") {
        Some(key) if call.request.method() == "POST" => {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(ApiError::InvalidHeader(
                    "Idempotency-Key",
                    "is empty or longer than 200 bytes",
                ));
            }
            let request = format!("{}\n{}", call.request.path(), call.body);
            let digest: [u8; 32] = Sha256::digest(request).into();
            let request = digest.map(|byte| format!("{byte:02x}")).concat();
            Some(Idempotency { key, request })
        }
        _ => None,
    };
    let if_match = call
        .request
        .header("If-Match")
        .filter(|tags| tags.trim() != "*");
    let write = Write {
        action,
        if_match: if_match.map(|tags| tags.split(',').filter_map(version).collect()),
        idempotency,
    };
    let written: Written = ask(call, &Message::Write(write)).await?;
    // What was just published is to be seen here at once.
    directory::forget();
    Ok(written)
}

/// The version that an entity tag names.
fn version(tag: &str) -> Option<i64> {
    tag.trim()
        .strip_prefix('"')?
        .strip_suffix('"')?
        .parse()
        .ok()
}

fn show(entity: &Entity, status: u16) -> worker::Result<Response> {
    let response = respond::json_text(status, &view::entity(entity))?;
    respond::with_header(response, "ETag", &format!("\"{}\"", entity.version))
}

async fn ask<T: DeserializeOwned>(call: &Call<'_>, message: &impl Serialize) -> ApiResult<T> {
    let catalogs = call.settings.catalogs.as_ref()?;
    let reply: Reply<T> = object_client::send(catalogs, OBJECT_NAME, message).await?;
    Ok(reply?)
}
