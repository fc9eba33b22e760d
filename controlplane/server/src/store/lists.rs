//! SQL for many rows at once, as portable text: SQLite knows no arrays, and lists of values both databases know.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe};

use super::Result;

/// Where [`rows_of`] puts its list.
const LIST: &str = "$LIST";
/// Ids in one statement, a quarter of what SQLite allows.
const AT_ONCE: usize = 8192;

/// `INSERT … VALUES` with `count` rows of `width` parameters.
pub(super) fn values(insert: &str, width: usize, count: usize) -> String {
    let row = |row: usize| {
        let columns: Vec<String> = (1..=width).map(|column| format!("${}", row * width + column)).collect();
        format!("({})", columns.join(", "))
    };
    format!("{insert} {}", (0..count).map(row).collect::<Vec<_>>().join(", "))
}

/// The rows of a statement with `… IN ($LIST) …`, for any number of ids.
pub(super) async fn rows_of(pool: &AnyPool, statement: &'static str, ids: &[String]) -> Result<Vec<AnyRow>> {
    let mut rows = Vec::new();
    for ids in ids.chunks(AT_ONCE) {
        rows.extend(listing(statement, ids).fetch_all(pool).await?);
    }
    Ok(rows)
}

/// The list is filled up to a power of two with its last id, so that few different statements are prepared.
fn listing(statement: &'static str, ids: &[String]) -> Query<'static, Any, AnyArguments> {
    let length = ids.len().next_power_of_two();
    let list = (1..=length).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
    let mut query = sqlx::query(AssertSqlSafe(statement.replace(LIST, &list)));
    for id in ids.iter().chain(std::iter::repeat_n(&ids[ids.len() - 1], length - ids.len())) {
        query = query.bind(id.clone());
    }
    query
}
