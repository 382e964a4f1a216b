//! Conversions as CSV (RFC 4180).

use super::view::ConversionView;
use crate::tracking::money::Currency;
use crate::tracking::rfc3339;
use crate::tracking::values::{AdvertiserValues, SubIds};

/// The columns before the values of partner and advertiser.
const COLUMNS: [&str; 20] = [
    "id",
    "offer_id",
    "partner_id",
    "goal_id",
    "status",
    "code",
    "received_at",
    "transaction_id",
    "clicked_at",
    "session_state",
    "amount",
    "sale_currency",
    "payout",
    "revenue",
    "currency",
    "country",
    "click_ip",
    "sender_ip",
    "conversion_unique_id",
    "promo_code",
];

/// The first line.
pub fn header() -> String {
    let names = COLUMNS
        .into_iter()
        .chain(SubIds::NAMES)
        .chain(AdvertiserValues::NAMES);
    line(names.map(str::to_owned))
}

/// The line of a conversion or a refusal.
pub fn row(view: &ConversionView) -> String {
    let conversion = &view.conversion;
    let click = conversion.click.as_ref();
    let values = [
        view.id.clone(),
        view.offer_id.to_string(),
        conversion.partner_id.to_string(),
        text(conversion.goal_id),
        conversion.status.as_str().to_owned(),
        text(conversion.code),
        rfc3339::write(conversion.received_at),
        text(click.map(|click| &click.transaction_id)),
        text(click.map(|click| rfc3339::write(click.clicked_at))),
        text(click.map(|click| click.session_state.as_str())),
        text(conversion.amount),
        text(conversion.sale_currency.as_ref().map(Currency::as_str)),
        conversion.payout.to_string(),
        conversion.revenue.to_string(),
        conversion.currency.as_str().to_owned(),
        conversion.session.country.to_string(),
        conversion.session.ip.to_string(),
        text(conversion.sender_ip),
        text(conversion.conversion_unique_id.as_deref()),
        text(conversion.promo_code.as_deref()),
    ];
    let sub_ids = conversion
        .session
        .sub_ids
        .values()
        .iter()
        .map(ToString::to_string);
    let advertiser_values = conversion
        .advertiser_values
        .values()
        .iter()
        .map(ToString::to_string);
    line(values.into_iter().chain(sub_ids).chain(advertiser_values))
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn line(values: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = values.map(|value| cell(&value)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell. What a spreadsheet would take for a formula gets an apostrophe in front: the values come from anybody.
fn cell(value: &str) -> String {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    if value.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", value.replace('"', "\"\""))
    } else {
        format!("{guard}{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Recorded;
    use crate::ledger::tests::conversion;

    #[test]
    fn cells_are_no_formulas() {
        let check = |value: &str, expected: &str| assert_eq!(cell(value), expected);
        check("a", "a");
        check("a,b", "\"a,b\"");
        check("a\"b\n", "\"a\"\"b\n\"");
        check("=1+1", "'=1+1");
        check("@x,", "\"'@x,\"");
    }

    #[test]
    fn every_row_has_every_column() {
        let recorded = Recorded {
            id: 7,
            conversion: conversion("t", Some(3)),
        };
        let row = row(&ConversionView::new(1.try_into().expect("an ID"), recorded));
        assert_eq!(row.matches(',').count(), header().matches(',').count());
        assert!(
            row.starts_with("1-7,1,2,3,approved,,2026-06-01T12:00:00.123Z,t,"),
            "{row}"
        );
    }
}
