//! What a model consists of at one commit: `GET /api/models/{id}/revision/{revision}?blobs=true`.

use serde::Deserialize;

use super::HubError;
use super::download::Expected;

pub(super) struct Listing {
    /// The commit that the revision names now; files are asked for by it.
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) expected: Expected,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    blob_id: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    pub(super) async fn ask(client: &reqwest::Client, endpoint: &str, id: &str, revision: &str) -> Result<Self, HubError> {
        let url = format!("{endpoint}/api/models/{id}/revision/{}?blobs=true", revision.replace('/', "%2F"));
        let answer = client.get(&url).send().await.map_err(|source| HubError::Unreachable { url: url.clone(), source })?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(HubError::Status { url, status, cure: cure(status) });
        }
        let answer: Answer = answer.json().await.map_err(|source| HubError::Listing { url, source })?;
        let files = answer.siblings.into_iter().map(|file| match file.lfs {
            Some(lfs) => RemoteFile { name: file.rfilename, size: lfs.size, expected: Expected::Sha256(lfs.sha256) },
            None => RemoteFile { name: file.rfilename, size: file.size, expected: Expected::GitBlob(file.blob_id) },
        });
        Ok(Self { commit: answer.sha, files: files.collect() })
    }
}

pub(super) fn cure(status: u16) -> &'static str {
    match status {
        401 | 403 => "the model is gated or private: set HF_TOKEN to a token that may read it",
        404 => "no such model, revision or file there (or it is private: set HF_TOKEN)",
        429 | 500..=599 => "try again later; what was downloaded is kept",
        _ => "see whether HF_ENDPOINT is a hub",
    }
}
