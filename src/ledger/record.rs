//! A conversion as a row.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sql::{Row, SqlError, Value, narrow, time};
use crate::tracking::click_page::Session;
use crate::tracking::conversion::{Conversion, ConvertedClick};
use crate::tracking::money::Money;
use crate::tracking::values::{AdvertiserValues, SubIds};

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number in the ledger: later ones are higher.
    pub id: i64,
    /// What it says.
    pub conversion: Conversion,
}

/// The columns behind `id`, in the order of [`to_row`] and [`from_row`]. Transaction, goal and unique ID come first,
/// because the checks for duplicates name them by number.
pub(super) const COLUMNS: [&str; 40] = [
    "transaction_id",
    "goal_id",
    "conversion_unique_id",
    "clicked_at",
    "session",
    "country",
    "click_ip",
    "source",
    "aff_sub",
    "aff_sub2",
    "aff_sub3",
    "aff_sub4",
    "aff_sub5",
    "aff_click_id",
    "aff_unique1",
    "aff_unique2",
    "aff_unique3",
    "aff_unique4",
    "aff_unique5",
    "partner_id",
    "status",
    "code",
    "amount",
    "sale_currency",
    "payout",
    "revenue",
    "currency",
    "received_at",
    "sender_ip",
    "promo_code",
    "adv_sub",
    "adv_sub2",
    "adv_sub3",
    "adv_sub4",
    "adv_sub5",
    "adv_unique1",
    "adv_unique2",
    "adv_unique3",
    "adv_unique4",
    "adv_unique5",
];

/// The values of [`COLUMNS`].
pub(super) fn to_row(conversion: &Conversion) -> Vec<Value> {
    let click = conversion.click.as_ref();
    let session = &conversion.session;
    let number = |id: u32| Value::Integer(id.into());
    let money = |money: Money| Value::Integer(money.ten_thousandths());
    let mut row = vec![
        click.map(|click| click.transaction_id.as_str()).into(),
        conversion.goal_id.map(|id| number(id.into())).into(),
        conversion.conversion_unique_id.clone().into(),
        click
            .map(|click| click.clicked_at.timestamp_millis())
            .into(),
        click.map(|click| click.session_state.as_str()).into(),
        text(&session.country),
        text(&session.ip),
    ];
    row.extend(session.sub_ids.values().iter().map(|value| text(value)));
    row.extend([
        number(conversion.partner_id.into()),
        conversion.status.as_str().into(),
        conversion.code.map(i64::from).into(),
        conversion.amount.map(money).into(),
        conversion.sale_currency.map(String::from).into(),
        money(conversion.payout),
        money(conversion.revenue),
        conversion.currency.as_str().into(),
        conversion.received_at.timestamp_millis().into(),
        conversion.sender_ip.map(|ip| ip.to_string()).into(),
        conversion.promo_code.clone().into(),
    ]);
    row.extend(
        conversion
            .advertiser_values
            .values()
            .iter()
            .map(|value| text(value)),
    );
    row
}

/// Reads a row of `id` and [`COLUMNS`].
pub(super) fn from_row(mut row: Row) -> Result<Recorded, SqlError> {
    let id = row.integer()?;
    let transaction_id = row.optional_text()?;
    let goal_id = row.optional_integer()?.map(narrow).transpose()?;
    let conversion_unique_id = row.optional_text()?;
    let clicked_at = row.optional_integer()?.map(time).transpose()?;
    let session_state = row.optional_text()?.map(parse).transpose()?;
    let click = match (transaction_id, clicked_at, session_state) {
        (Some(transaction_id), Some(clicked_at), Some(session_state)) => Some(ConvertedClick {
            transaction_id,
            clicked_at,
            session_state,
        }),
        _ => None,
    };
    let country = row.optional_text()?.unwrap_or_default();
    let ip = row.optional_text()?.unwrap_or_default();
    let mut sub_ids = SubIds::default();
    for value in sub_ids.values_mut() {
        *value = row.optional_text()?.unwrap_or_default().into();
    }
    let mut conversion = Conversion {
        click,
        session: Session {
            country: country.into(),
            ip: ip.into(),
            sub_ids,
        },
        partner_id: narrow(row.integer()?)?,
        goal_id,
        status: required(row.optional_text()?)?,
        code: row.optional_integer()?.map(narrow).transpose()?,
        amount: row.optional_integer()?.map(money).transpose()?,
        sale_currency: row.optional_text()?.map(parse).transpose()?,
        payout: money(row.integer()?)?,
        revenue: money(row.integer()?)?,
        currency: required(row.optional_text()?)?,
        received_at: time(row.integer()?)?,
        sender_ip: row.optional_text()?.map(parse).transpose()?,
        conversion_unique_id,
        promo_code: row.optional_text()?,
        advertiser_values: AdvertiserValues::default(),
    };
    for value in conversion.advertiser_values.values_mut() {
        *value = row.optional_text()?.unwrap_or_default().into();
    }
    Ok(Recorded { id, conversion })
}

/// An empty text is stored as null, which takes no room.
pub(super) fn text(value: &str) -> Value {
    (!value.is_empty()).then_some(value).into()
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map`")]
fn parse<T: FromStr>(text: String) -> Result<T, SqlError> {
    text.parse()
        .map_err(|_| SqlError(format!("unexpected text {text:?}")))
}

fn required<T: FromStr>(text: Option<String>) -> Result<T, SqlError> {
    text.map_or_else(|| Err(SqlError("unexpected null".to_owned())), parse)
}

fn money(count: i64) -> Result<Money, SqlError> {
    Money::from_ten_thousandths(count).ok_or_else(|| SqlError(format!("unexpected amount {count}")))
}
