//! Conversions and refusals: lists over the ledgers of many offers, as JSON or CSV, and decisions.

use std::rc::Rc;

use futures_util::stream;

use super::super::ledgers::Ledgers;
use super::super::respond::{self, Response};
use super::super::{Unreachable, log};
use super::problem::ApiError;
use super::{ApiResult, Call, catalog};
use crate::api::csv;
use crate::api::params::{self, ConversionsQuery, InvalidParameter};
use crate::api::view::{ConversionId, ConversionView, Decision, Page};
use crate::json;
use crate::ledger::message::Message;
use crate::ledger::{ConversionFilter, Decided, Recorded, first_id};
use crate::tracking::id::OfferId;

/// How many rows are fetched at a time for a CSV.
const CSV_ROWS: u32 = 500;

pub(super) async fn list(call: &Call<'_>) -> ApiResult {
    let query = ConversionsQuery::parse(call.request.query())?;
    let cursor =
        match &query.cursor {
            None => None,
            Some(text) => {
                let cursor = ConversionId::parse(text);
                Some(cursor.ok_or_else(|| {
                    InvalidParameter::new("cursor", "is not the cursor of a page")
                })?)
            }
        };
    let selection = Selection {
        ledgers: Ledgers::of(call.settings)?,
        offers: catalog::offers(call, query.offer_id, query.advertiser_id).await?,
        filter: ConversionFilter {
            partner: query.partner_id,
            status: query.status,
            code: query.code,
            transaction_id: query
                .transaction_id
                .map(|id| id.trim().to_ascii_lowercase()),
            from: query.from.map(first_id),
            before: query.to.map(first_id),
            limit: query.limit.unwrap_or_default().0,
        },
    };
    if call
        .request
        .header("Accept")
        .is_some_and(|accept| accept.contains("text/csv"))
    {
        return Ok(all_as_csv(selection)?);
    }
    let (items, next) = selection.page(cursor).await?;
    Ok(respond::json(&Page {
        items,
        next: next.map(|next| next.to_string()),
    })?)
}

pub(super) async fn get(call: &Call<'_>, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let id = conversion_id(id)?;
    catalog::offers(call, Some(id.offer), None).await?;
    let ledgers = Ledgers::of(call.settings)?;
    let recorded: Option<Recorded> = ledgers
        .ask(id.offer, &Message::Conversion(id.number))
        .await?;
    match recorded {
        Some(recorded) => Ok(respond::json(&ConversionView::new(id.offer, recorded))?),
        None => Err(unknown()),
    }
}

pub(super) async fn decide(call: &Call<'_>, id: &str) -> ApiResult {
    params::none(call.request.query())?;
    let decision: Decision = json::read(call.body)?;
    let id = conversion_id(id)?;
    catalog::offers(call, Some(id.offer), None).await?;
    let ledgers = Ledgers::of(call.settings)?;
    match ledgers
        .ask(
            id.offer,
            &Message::Decide(id.number, decision.status.into()),
        )
        .await?
    {
        Decided::Done(recorded) => Ok(respond::json(&ConversionView::new(id.offer, *recorded))?),
        Decided::NotPending(status) => Err(ApiError::Conflict(format!(
            "This conversion is {}, and only a pending one can be decided.",
            status.as_str()
        ))),
        Decided::Unknown => Err(unknown()),
    }
}

fn conversion_id(id: &str) -> ApiResult<ConversionId> {
    ConversionId::parse(id).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::NotFound("There is no such conversion.".to_owned())
}

/// What a list shows.
struct Selection {
    ledgers: Ledgers,
    offers: Vec<OfferId>,
    filter: ConversionFilter,
}

impl Selection {
    /// A page, newest first, behind the last row of the page before; and where the next one begins.
    async fn page(
        &self,
        cursor: Option<ConversionId>,
    ) -> Result<(Vec<ConversionView>, Option<ConversionId>), Unreachable> {
        let messages: Vec<(OfferId, Message)> = self
            .offers
            .iter()
            .map(|offer| {
                // Rows of the same number are sorted by offer, so the offers before the cursor's still show theirs.
                let behind = cursor.map(|cursor| {
                    let inclusive = i64::from(*offer < cursor.offer);
                    cursor.number.saturating_add(inclusive)
                });
                let before = match (self.filter.before, behind) {
                    (Some(before), Some(behind)) => Some(before.min(behind)),
                    (before, behind) => before.or(behind),
                };
                let filter = ConversionFilter {
                    before,
                    limit: self.filter.limit.saturating_add(1),
                    ..self.filter.clone()
                };
                (*offer, Message::Conversions(filter))
            })
            .collect();
        let mut rows: Vec<(ConversionId, Recorded)> = Vec::new();
        for (offer, recorded) in self.ledgers.ask_all::<Vec<Recorded>>(&messages).await? {
            rows.extend(recorded.into_iter().map(|recorded| {
                let id = ConversionId {
                    offer,
                    number: recorded.id,
                };
                (id, recorded)
            }));
        }
        rows.sort_by_key(|(id, _)| std::cmp::Reverse((id.number, id.offer)));
        let limit = usize::try_from(self.filter.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|(id, _)| *id);
        let rows = rows
            .into_iter()
            .map(|(id, recorded)| ConversionView::new(id.offer, recorded));
        Ok((rows.collect(), next))
    }
}

/// Where a stream of pages stands.
enum Position {
    Start,
    Behind(ConversionId),
    End,
}

/// All rows, page by page, as they are fetched.
fn all_as_csv(mut selection: Selection) -> worker::Result<Response> {
    selection.filter.limit = CSV_ROWS;
    let selection = Rc::new(selection);
    let pages = stream::unfold(Position::Start, move |position| {
        let selection = Rc::clone(&selection);
        async move {
            let (cursor, mut text) = match position {
                Position::Start => (None, csv::header()),
                Position::Behind(cursor) => (Some(cursor), String::new()),
                Position::End => return None,
            };
            let page = selection.page(cursor).await.map_err(|Unreachable| {
                // The status is sent: only a broken stream can say that rows are missing.
                log::error("csv_broke_off", &"a ledger does not answer");
                worker::Error::RustError("not all rows could be read".to_owned())
            });
            let (page, next) = match page {
                Ok((rows, next)) => (Ok(rows), next.map_or(Position::End, Position::Behind)),
                Err(error) => (Err(error), Position::End),
            };
            let chunk = page.map(|rows| {
                text.extend(rows.iter().map(csv::row));
                text.into_bytes()
            });
            Some((chunk, next))
        }
    });
    respond::csv(pages)
}
