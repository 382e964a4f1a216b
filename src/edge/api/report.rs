//! Reports over the ledgers of many offers.

use chrono::TimeDelta;

use super::super::ledgers::Ledgers;
use super::super::{respond, runtime};
use super::problem::ApiError;
use super::{ApiResult, Call, catalog};
use crate::api::params::{InvalidParameter, ReportQuery};
use crate::api::report::Report;
use crate::ledger::counts::hour;
use crate::ledger::message::Message;
use crate::ledger::report::{ReportLine, ReportRequest};
use crate::tracking::id::OfferId;

/// How long a report is that does not say from when.
const DEFAULT_SPAN: TimeDelta = TimeDelta::days(30);

/// The most lines that one ledger may say, so that an answer stays within the worker's memory.
const MAX_LINES: u32 = 20_000;

pub(super) async fn report(call: &Call<'_>) -> ApiResult {
    let query = ReportQuery::parse(call.request.query())?;
    let to = query.to.unwrap_or_else(runtime::now);
    let from = query
        .from
        .or_else(|| to.checked_sub_signed(DEFAULT_SPAN))
        .unwrap_or(to);
    if from >= to {
        return Err(InvalidParameter::new("from", "is not before to").into());
    }
    let end = hour(
        to.checked_sub_signed(TimeDelta::milliseconds(1))
            .unwrap_or(to),
    )
    .saturating_add(1);
    let hours = (hour(from), end);
    let group_by = query.group_by.unwrap_or_default();
    let (groups, dimension) = group_by.for_ledger();
    let request = ReportRequest {
        from_hour: hours.0,
        to_hour: hours.1,
        groups,
        dimension,
        partner: query.partner_id,
        goal: query.goal_id,
        limit: MAX_LINES,
    };
    let offers = catalog::offers(call, query.offer_id, query.advertiser_id).await?;
    let messages: Vec<(OfferId, Message)> = offers
        .into_iter()
        .map(|offer| (offer, Message::Report(request.clone())))
        .collect();
    let parts: Vec<(OfferId, Vec<ReportLine>)> =
        Ledgers::of(call.settings)?.ask_all(&messages).await?;
    let limit = usize::try_from(MAX_LINES).unwrap_or(usize::MAX);
    if parts.iter().any(|(_, lines)| lines.len() >= limit) {
        return Err(ApiError::InvalidParameter(InvalidParameter::new(
            "group_by",
            "gives too many rows: ask for a shorter time, or group by less",
        )));
    }
    Ok(respond::json(&Report::new(&group_by, hours, parts))?)
}
