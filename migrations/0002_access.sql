-- Who may call. Only SHA-256 hashes are stored (hex): a copy of the database opens nothing.
CREATE TABLE tokens (
    hash       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE sessions (
    hash       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

-- One-time links that open a session in a browser.
CREATE TABLE session_links (
    hash       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
