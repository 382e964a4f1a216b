//! Lists of entities: filtered, sorted, page by page.

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::{COLUMNS, Catalog, Entity};
use crate::sql::{Sql, SqlError, Value};

/// What a list shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The most entities of one page.
    pub limit: u32,
    /// The ID of the last entity of the page before.
    pub after: Option<u32>,
    /// By what it is sorted; equal ones are sorted by ID.
    pub sort: Sort,
    /// Whether the last come first.
    pub descending: bool,
    /// Fields of [`Kind::filters`], and the value that each must have.
    pub filters: Vec<(String, String)>,
}

/// By what a list can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Sort {
    Id,
    Name,
    UpdatedAt,
}

impl Sort {
    fn expression(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "json_extract(body, '$.name')",
            Self::UpdatedAt => "updated_at",
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Its entities.
    pub entities: Vec<Entity>,
    /// Whether another page follows.
    pub has_more: bool,
}

impl<S: Sql> Catalog<S> {
    /// A page of a list.
    pub fn list(&self, kind: Kind, list: &List) -> Result<Page, SqlError> {
        let mut conditions = vec!["kind = ?1".to_owned()];
        let mut parameters: Vec<Value> = vec![kind.name().into()];
        for (field, value) in &list.filters {
            // Only known names get into the statement.
            let Some(field) = kind.filters().iter().find(|known| *known == field) else {
                return Err(SqlError(format!("no filter {field}")));
            };
            let value = match value.as_str() {
                "true" => "1",
                "false" => "0",
                value => value,
            };
            parameters.push(value.into());
            let place = parameters.len();
            conditions.push(format!(
                "CAST(json_extract(body, '$.{field}') AS TEXT) = ?{place}"
            ));
        }
        let sort = list.sort.expression();
        let (direction, behind) = if list.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        if let Some(after) = list.after {
            parameters.push(i64::from(after).into());
            let place = parameters.len();
            conditions.push(format!(
                "({sort}, id) {behind} (SELECT {sort}, id FROM entities WHERE kind = ?1 AND id = ?{place})"
            ));
        }
        parameters.push((i64::from(list.limit) + 1).into());
        let statement = format!(
            "SELECT {COLUMNS} FROM entities WHERE {} ORDER BY {sort} {direction}, id {direction} LIMIT ?{}",
            conditions.join(" AND "),
            parameters.len(),
        );
        let rows = self.sql.run(&statement, parameters)?;
        let mut entities: Vec<Entity> = rows
            .into_iter()
            .map(Entity::from_row)
            .collect::<Result<_, _>>()?;
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let has_more = entities.len() > limit;
        entities.truncate(limit);
        Ok(Page { entities, has_more })
    }
}
