//! Query plans: no statement of the store reads a table from one end to the other. The statements are the string literals of its
//! sources, so a new one is looked at without being listed anywhere.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Row};

use super::*;

/// Tables that a statement may read whole, and why that costs nothing.
const ALLOWED: [(&str, &str); 1] = [("notifications", "an outbox: it holds what is not delivered yet, of one day at the most")];

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&Store::sqlite_url(folder.path())).await;
    let statements = statements();
    assert!(statements.len() > 40, "only {} statements were found", statements.len());
    let mut scans = Vec::new();
    for statement in statements {
        // One parameter stands for the list; a plan is the same for many.
        let explain = format!("EXPLAIN QUERY PLAN {}", statement.replace("$LIST", "$1"));
        let rows = sqlx::query(AssertSqlSafe(explain)).fetch_all(&store.pool).await;
        let rows = rows.unwrap_or_else(|error| panic!("a statement with holes? Write lists as $LIST. {error}\n{statement}"));
        for row in rows {
            let step: String = row.get("detail");
            let allowed = ALLOWED.iter().any(|(table, _)| step.starts_with(&format!("SCAN {table}")));
            if step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW" && !allowed {
                scans.push(format!("{step}\n    {statement}"));
            }
        }
    }
    assert!(scans.is_empty(), "these read a whole table; give them an index, or a reason in ALLOWED:\n{}", scans.join("\n"));
}

/// All literals below `src/store` that are statements, tests apart.
fn statements() -> Vec<String> {
    let mut statements = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let literals = literals(&std::fs::read_to_string(&path).unwrap());
                let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
                // The head of a list of rows is no statement.
                let whole = |text: &String| verbs.iter().any(|verb| text.starts_with(verb)) && !text.ends_with("VALUES");
                statements.extend(literals.into_iter().filter(whole));
            }
        }
    }
    statements
}

/// String literals of a Rust source, line comments left out.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = source.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|next| *next != '\n').is_some() {},
            // A character, as far as it could be taken for the begin of a string.
            '\'' if chars.peek() == Some(&'"') => drop(chars.next()),
            '"' => {
                let mut text = String::new();
                while let Some(next) = chars.next_if(|next| *next != '"') {
                    match (next, chars.peek()) {
                        ('\\', Some('\n')) => while chars.next_if(|next| next.is_whitespace()).is_some() {},
                        ('\\', _) => text.extend(chars.next()),
                        (other, _) => text.push(other),
                    }
                }
                chars.next();
                found.push(text);
            }
            _ => {}
        }
    }
    found
}
