//! Reports: what the ledgers of many offers say, added up.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::params::{Parameter, choose};
use crate::ledger::counts::Dimension;
use crate::ledger::report::{Group, ReportLine};
use crate::tracking::id::OfferId;

/// By what a report groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Offer,
    Ledger(Group),
    Session(Dimension),
}

const NAMES: [(&str, By); 12] = [
    ("offer", By::Offer),
    ("partner", By::Ledger(Group::Partner)),
    ("day", By::Ledger(Group::Day)),
    ("hour", By::Ledger(Group::Hour)),
    ("goal", By::Ledger(Group::Goal)),
    ("country", By::Session(Dimension::Country)),
    ("source", By::Session(Dimension::Source)),
    ("aff_sub", By::Session(Dimension::AffSub)),
    ("aff_sub2", By::Session(Dimension::AffSub2)),
    ("aff_sub3", By::Session(Dimension::AffSub3)),
    ("aff_sub4", By::Session(Dimension::AffSub4)),
    ("aff_sub5", By::Session(Dimension::AffSub5)),
];

/// The groups of a report, by their names; at most one of them is a value of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupBy(Vec<(&'static str, By)>);

impl GroupBy {
    /// What a ledger has to group by, and what its values are.
    pub fn for_ledger(&self) -> (Vec<Group>, Dimension) {
        let mut dimension = Dimension::All;
        let mut groups = Vec::new();
        for (_, by) in &self.0 {
            match by {
                By::Offer => {}
                By::Ledger(group) => groups.push(*group),
                By::Session(session) => {
                    dimension = *session;
                    groups.push(Group::Value);
                }
            }
        }
        (groups, dimension)
    }

    fn has_goal(&self) -> bool {
        self.0.iter().any(|(_, by)| *by == By::Ledger(Group::Goal))
    }
}

impl Parameter for GroupBy {
    fn read(text: &str) -> Result<Self, String> {
        let mut groups: Vec<(&'static str, By)> = Vec::new();
        for name in text.split(',') {
            let by = choose(name, &NAMES)?;
            if groups.iter().any(|(_, other)| *other == by) {
                return Err(format!("has {name} twice"));
            }
            let is_session = |by: &By| matches!(by, By::Session(_));
            if is_session(&by) && groups.iter().any(|(_, other)| is_session(other)) {
                return Err("has more than one of country, source and the sub IDs".to_owned());
            }
            let name = NAMES
                .iter()
                .find(|(_, other)| *other == by)
                .map_or("", |(name, _)| name);
            groups.push((name, by));
        }
        Ok(Self(groups))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        let names = NAMES.map(|(name, _)| name).join("|");
        serde_json::json!({
            "type": "string", "pattern": format!("^({names})(,({names}))*$"), "examples": ["offer,day"]
        })
    }
}

/// A report.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The start of the first hour.
    #[serde(with = "crate::tracking::rfc3339")]
    #[cfg_attr(test, schemars(with = "super::openapi::Time"))]
    pub from: DateTime<Utc>,
    /// The end of the last hour.
    #[serde(with = "crate::tracking::rfc3339")]
    #[cfg_attr(test, schemars(with = "super::openapi::Time"))]
    pub to: DateTime<Utc>,
    /// A row for each group in which something happened, sorted by the groups.
    pub rows: Vec<ReportRow>,
    /// All rows together.
    pub totals: Figures,
}

/// A row of a report.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReportRow {
    /// The values of what the report is grouped by; `null` where an event has none.
    pub group: BTreeMap<&'static str, Option<String>>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What happened.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Figures {
    /// Clicks; `null` in rows by goal, because a click has none.
    pub clicks: Option<i64>,
    /// Approved conversions.
    pub approved: i64,
    /// Conversions that wait for a decision.
    pub pending: i64,
    /// Conversions that do not count.
    pub rejected: i64,
    /// Approved conversions for each click, with four places; `null` without clicks.
    pub conversion_rate: Option<String>,
    /// What partners earn for approved conversions, currency by currency.
    pub payout: BTreeMap<String, String>,
    /// What advertisers owe for approved conversions, currency by currency.
    pub revenue: BTreeMap<String, String>,
    /// What partners earn for each click, currency by currency.
    pub earnings_per_click: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    clicks: i64,
    approved: i64,
    pending: i64,
    rejected: i64,
    /// Payout and revenue.
    money: BTreeMap<String, (i64, i64)>,
}

impl Sum {
    fn add(&mut self, line: &ReportLine) {
        self.clicks += line.clicks;
        for counted in &line.conversions {
            self.approved += counted.approved;
            self.pending += counted.pending;
            self.rejected += counted.rejected;
            let (payout, revenue) = self
                .money
                .entry(counted.currency.as_str().to_owned())
                .or_default();
            *payout += counted.payout;
            *revenue += counted.revenue;
        }
    }

    fn is_zero(&self) -> bool {
        self.clicks == 0 && self.approved == 0 && self.pending == 0 && self.rejected == 0
    }

    fn figures(self, has_clicks: bool) -> Figures {
        let clicks = has_clicks.then_some(self.clicks);
        let per_click = clicks.filter(|clicks| *clicks > 0);
        let money = |amount: fn(&(i64, i64)) -> i64| {
            let amounts = self.money.iter().filter(|(_, both)| **both != (0, 0));
            amounts
                .map(|(currency, both)| (currency.clone(), decimal(amount(both))))
                .collect()
        };
        Figures {
            clicks,
            approved: self.approved,
            pending: self.pending,
            rejected: self.rejected,
            conversion_rate: per_click.map(|clicks| decimal(ratio(self.approved * 10_000, clicks))),
            earnings_per_click: match per_click {
                Some(clicks) => {
                    let paid = self.money.iter().filter(|(_, (payout, _))| *payout != 0);
                    paid.map(|(currency, (payout, _))| {
                        (currency.clone(), decimal(ratio(*payout, clicks)))
                    })
                    .collect()
                }
                None => BTreeMap::new(),
            },
            payout: money(|(payout, _)| *payout),
            revenue: money(|(_, revenue)| *revenue),
        }
    }
}

/// A quotient, rounded half up.
fn ratio(dividend: i64, divisor: i64) -> i64 {
    (dividend + divisor / 2) / divisor
}

/// Ten-thousandths as a decimal, with two to four places.
fn decimal(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let count = count.unsigned_abs();
    let places = format!("{:04}", count % 10_000);
    let places = places
        .strip_suffix("00")
        .or(places.strip_suffix('0'))
        .unwrap_or(&places);
    format!("{sign}{}.{places}", count / 10_000)
}

impl Report {
    /// Adds up what the ledgers say of the hours from one to before another, counted since 1970.
    pub fn new(
        group_by: &GroupBy,
        hours: (i64, i64),
        parts: Vec<(OfferId, Vec<ReportLine>)>,
    ) -> Self {
        let mut totals = Sum::default();
        let mut sums: BTreeMap<Vec<Value>, Sum> = BTreeMap::new();
        for (offer, lines) in parts {
            for line in lines {
                totals.add(&line);
                // Clicks have no goal, so they stand in no row by goal.
                if group_by.has_goal() && line.conversions.is_empty() {
                    continue;
                }
                let mut values = line.key.iter();
                let key = group_by.0.iter().map(|(_, by)| match by {
                    By::Offer => Value::Number(u32::from(offer).into()),
                    By::Session(_) => Value::Text(values.next().cloned().unwrap_or_default()),
                    By::Ledger(_) => Value::Number(
                        values
                            .next()
                            .and_then(|value| value.parse().ok())
                            .unwrap_or(0),
                    ),
                });
                sums.entry(key.collect()).or_default().add(&line);
            }
        }
        let rows = sums
            .into_iter()
            .filter(|(_, sum)| !sum.is_zero())
            .map(|(key, sum)| ReportRow {
                group: group_by
                    .0
                    .iter()
                    .zip(key)
                    .map(|((name, by), value)| (*name, value.show(*by)))
                    .collect(),
                figures: sum.figures(!group_by.has_goal()),
            })
            .collect();
        Self {
            from: at_hour(hours.0),
            to: at_hour(hours.1),
            rows,
            totals: totals.figures(true),
        }
    }
}

/// The value of a group, in the order of rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    fn show(self, by: By) -> Option<String> {
        let time = |hour: i64| at_hour(hour).to_rfc3339_opts(SecondsFormat::Secs, true);
        match (self, by) {
            (Self::Number(0), By::Ledger(Group::Goal)) => None,
            (Self::Number(day), By::Ledger(Group::Day)) => {
                time(day.saturating_mul(24)).get(..10).map(str::to_owned)
            }
            (Self::Number(hour), By::Ledger(Group::Hour)) => Some(time(hour)),
            (Self::Number(number), _) => Some(number.to_string()),
            (Self::Text(text), _) => (!text.is_empty()).then_some(text),
        }
    }
}

fn at_hour(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(hour.saturating_mul(3_600), 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::report::CountedConversions;

    #[test]
    fn reads_groups() {
        let check = |text: &str, expected: Result<(), &str>| {
            let read = GroupBy::read(text).map(|_| ());
            assert_eq!(read.as_ref().map_err(String::as_str).copied(), expected);
        };
        check("offer,day,aff_sub", Ok(()));
        check("offer,offer", Err("has offer twice"));
        check(
            "country,source",
            Err("has more than one of country, source and the sub IDs"),
        );
        assert!(GroupBy::read("").is_err());
    }

    #[test]
    fn adds_up_ledgers() {
        let line = |key: &[&str], clicks: i64, payout: Option<i64>| ReportLine {
            key: key.iter().map(|value| (*value).to_owned()).collect(),
            clicks,
            conversions: payout
                .map(|payout| CountedConversions {
                    currency: "USD".parse().expect("currency"),
                    approved: 1,
                    pending: 0,
                    rejected: 0,
                    payout,
                    revenue: 2 * payout,
                })
                .into_iter()
                .collect(),
        };
        let group_by = GroupBy::read("offer,day,country").expect("groups");
        assert_eq!(
            group_by.for_ledger(),
            (vec![Group::Day, Group::Value], Dimension::Country)
        );
        let offer = |id: u32| id.try_into().expect("an ID");
        let parts = vec![
            (
                offer(10),
                vec![
                    line(&["1", "DE"], 3, None),
                    line(&["1", "DE"], 0, Some(15_000)),
                    line(&["1", ""], 0, None),
                ],
            ),
            (offer(9), vec![line(&["0", ""], 5, None)]),
        ];
        let report = serde_json::to_value(Report::new(&group_by, (0, 48), parts)).expect("json");
        assert_eq!(
            report,
            serde_json::json!({
                "from": "1970-01-01T00:00:00Z", "to": "1970-01-03T00:00:00Z",
                "rows": [
                    {"group": {"offer": "9", "day": "1970-01-01", "country": null}, "clicks": 5, "approved": 0,
                     "pending": 0, "rejected": 0, "conversion_rate": "0.00", "payout": {}, "revenue": {},
                     "earnings_per_click": {}},
                    {"group": {"offer": "10", "day": "1970-01-02", "country": "DE"}, "clicks": 3, "approved": 1,
                     "pending": 0, "rejected": 0, "conversion_rate": "0.3333", "payout": {"USD": "1.50"},
                     "revenue": {"USD": "3.00"}, "earnings_per_click": {"USD": "0.50"}},
                ],
                "totals": {"clicks": 8, "approved": 1, "pending": 0, "rejected": 0, "conversion_rate": "0.125",
                           "payout": {"USD": "1.50"}, "revenue": {"USD": "3.00"},
                           "earnings_per_click": {"USD": "0.1875"}},
            })
        );
    }
}
