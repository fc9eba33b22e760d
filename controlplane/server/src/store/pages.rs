//! Lists, page by page in the order of names. A page begins behind a name, so it stays where it is while rows come and go.

use sqlx::any::AnyRow;

use super::codec::Columns;
use super::experiments::{Stored, read};
use super::filter::{Field, Filter};
use super::{Result, Store};

/// Rows in memory at a time.
const ROWS: usize = 200;
/// Rows looked at for one page; a filter that selects next to nothing gives short pages instead of long waits.
const MOST_ROWS: usize = 5_000;

#[derive(Debug)]
pub struct Page {
    pub items: Vec<Stored>,
    /// Behind which name the next page begins; `None` on the last one.
    pub next: Option<String>,
}

impl Store {
    /// Up to `limit` selected experiments behind `after` (a name). A page may be short, even empty, and not be the last.
    pub async fn page(&self, filter: &Filter, after: &str, limit: usize) -> Result<Page> {
        let rows = if filter.is_empty() { limit + 1 } else { ROWS };
        self.page_within(filter, after, limit, (rows, MOST_ROWS)).await
    }

    /// `size` rows at a time, about `most` in all.
    pub(super) async fn page_within(
        &self,
        filter: &Filter,
        after: &str,
        limit: usize,
        (size, most): (usize, usize),
    ) -> Result<Page> {
        let (mut items, mut after, mut seen) = (Vec::new(), after.to_owned(), 0);
        loop {
            let rows = self.rows_behind(filter, &after, size).await?;
            for row in &rows {
                if filter.selects_row(row)? {
                    if items.len() == limit {
                        return Ok(Page { items, next: Some(after) });
                    }
                    items.push(read(row)?);
                }
                after = row.text("name")?;
            }
            seen += rows.len();
            if rows.len() < size {
                return Ok(Page { items, next: None });
            }
            if seen >= most {
                return Ok(Page { items, next: Some(after) });
            }
        }
    }

    /// Through the index that passes over most rows; the filter looks at what is left.
    async fn rows_behind(&self, filter: &Filter, after: &str, limit: usize) -> Result<Vec<AnyRow>> {
        let (statement, value) = if let Some(name) = filter.only(Field::Name) {
            ("SELECT * FROM experiments WHERE name > $1 AND name = $3 ORDER BY name LIMIT $2", Some(name))
        } else if let Some(phase) = filter.only(Field::Phase) {
            ("SELECT * FROM experiments WHERE name > $1 AND phase = $3 ORDER BY name LIMIT $2", Some(phase))
        } else if let Some(owner) = filter.only(Field::Owner) {
            ("SELECT * FROM experiments WHERE name > $1 AND owner = $3 ORDER BY name LIMIT $2", Some(owner))
        } else {
            ("SELECT * FROM experiments WHERE name > $1 ORDER BY name LIMIT $2", None)
        };
        let mut query = sqlx::query(statement).bind(after.to_owned()).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        if let Some(value) = value {
            query = query.bind(value.to_owned());
        }
        Ok(query.fetch_all(&self.pool).await?)
    }
}
