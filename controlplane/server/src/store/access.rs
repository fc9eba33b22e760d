//! Bearer tokens, browser sessions and the one-time links that open them. Only hashes are stored.

use em_api::Timestamp;
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::codec::{Columns, spell, time};
use super::{Result, Store, now};

/// What a caller may do. Each role may all that the one before may, except that a hint only says "look now" and a scraper reads
/// metrics only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Hint,
    Scraper,
    Viewer,
    Submitter,
    Admin,
}

/// Somebody who showed a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub owner: String,
    pub role: Role,
}

/// A fresh secret: 256 bits, recognisable by its prefix in a leak scan.
pub fn new_secret(prefix: &str) -> String {
    let bytes: [u8; 32] = rand::rng().random();
    format!("{prefix}_{}", hex::encode(bytes))
}

/// SHA-256, hex. The secrets have full entropy, so a plain hash is enough.
pub fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[derive(Clone, Copy)]
enum Table {
    Tokens,
    Sessions,
    Links,
}

impl Store {
    pub async fn add_token(&self, secret: &str, who: &Principal) -> Result<()> {
        sqlx::query("INSERT INTO tokens (hash, owner, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING")
            .bind(hash(secret))
            .bind(who.owner.clone())
            .bind(spell(&who.role))
            .bind(time(now()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn token(&self, secret: &str) -> Result<Option<Principal>> {
        self.principal(Table::Tokens, secret).await
    }

    /// Opens a session: what a browser's cookie holds.
    pub async fn open_session(&self, who: &Principal, expires_at: Timestamp) -> Result<String> {
        let secret = new_secret("ems");
        self.insert_expiring(
            "INSERT INTO sessions (hash, owner, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            &secret,
            who,
            expires_at,
        )
        .await?;
        Ok(secret)
    }

    pub async fn session(&self, secret: &str) -> Result<Option<Principal>> {
        self.principal(Table::Sessions, secret).await
    }

    pub async fn close_session(&self, secret: &str) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash(secret)).execute(&self.pool).await?;
        Ok(())
    }

    /// A code that opens one session, once.
    pub async fn make_link(&self, who: &Principal, expires_at: Timestamp) -> Result<String> {
        let secret = new_secret("eml");
        self.insert_expiring(
            "INSERT INTO session_links (hash, owner, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            &secret,
            who,
            expires_at,
        )
        .await?;
        Ok(secret)
    }

    /// Takes the link away and says whose it was; a second call finds nothing.
    pub async fn redeem_link(&self, code: &str) -> Result<Option<Principal>> {
        let who = self.principal(Table::Links, code).await?;
        let removed = sqlx::query("DELETE FROM session_links WHERE hash = $1").bind(hash(code)).execute(&self.pool).await?;
        Ok(who.filter(|_| removed.rows_affected() == 1))
    }

    async fn insert_expiring(&self, statement: &'static str, secret: &str, who: &Principal, expires_at: Timestamp) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1").bind(time(now())).execute(&self.pool).await?;
        sqlx::query("DELETE FROM session_links WHERE expires_at < $1").bind(time(now())).execute(&self.pool).await?;
        sqlx::query(statement)
            .bind(hash(secret))
            .bind(who.owner.clone())
            .bind(spell(&who.role))
            .bind(time(now()))
            .bind(time(expires_at))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn principal(&self, table: Table, secret: &str) -> Result<Option<Principal>> {
        let (statement, expires) = match table {
            Table::Tokens => ("SELECT owner, role FROM tokens WHERE hash = $1", false),
            Table::Sessions => ("SELECT owner, role FROM sessions WHERE hash = $1 AND expires_at > $2", true),
            Table::Links => ("SELECT owner, role FROM session_links WHERE hash = $1 AND expires_at > $2", true),
        };
        let mut query = sqlx::query(statement).bind(hash(secret));
        if expires {
            query = query.bind(time(now()));
        }
        let row = query.fetch_optional(&self.pool).await?;
        row.map(|row| Ok(Principal { owner: row.text("owner")?, role: row.word("role")? })).transpose()
    }
}
