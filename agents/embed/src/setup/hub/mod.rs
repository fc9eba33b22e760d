//! Models from the Hugging Face hub, or a mirror of it, into the store: pinned to a commit, each file verified by its hash,
//! resumable, and from the hub's own cache where there is no network. Without Python.

mod cache;
mod download;
mod listing;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use em_api::Timestamp;
use em_api::inputs::{Entry, EntryKind, manifest_path, model_key};

pub use cache::CacheFolder;
use download::Download;
pub use download::sha256;
use listing::{Listing, RemoteFile};

const PUBLIC: &str = "https://huggingface.co";
const WEIGHTS: &str = "model.safetensors";

/// Where models come from. [`Hub::from_environment`] reads what the hub's own tools read.
#[derive(Clone, Debug)]
pub struct Hub {
    /// `HF_ENDPOINT`, a mirror; without a trailing slash.
    pub endpoint: String,
    /// `HF_TOKEN`, or the file that `hf auth login` writes. Sent to the endpoint alone.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: nothing is asked, the cache must have it.
    pub offline: bool,
    /// `HF_HUB_CACHE`, `HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub cache: Option<CacheFolder>,
}

/// Never shown.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{url} does not answer; set HF_ENDPOINT to a mirror, or HF_HUB_OFFLINE=1 to take the model from the hub's cache")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answered {status}; {cure}")]
    Status { url: String, status: u16, cure: &'static str },
    #[error("{url} answered what is no listing of a model")]
    Listing {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{id} holds no safetensors: only those are taken; convert it, and name its folder by model.path")]
    NoSafetensors { id: String },
    #[error("{file} has {what} {found}, expected {expected}: the download was thrown away; try again, or ask who runs the mirror")]
    Checksum { file: String, what: &'static str, found: String, expected: String },
    #[error("{file} broke off at {have} of {size} bytes, {tries} times in a row; run it again to go on from there")]
    BrokenOff { file: String, have: u64, size: u64, tries: u32 },
    #[error("{id} at {revision} is not in the hub's cache {cache}; unset HF_HUB_OFFLINE to download it")]
    NotCached { id: String, revision: String, cache: String },
    #[error("writing {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What a fetch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub folder: PathBuf,
    pub commit: String,
    /// Downloaded now; 0 when all was there.
    pub bytes: u64,
    /// False: it had been there before, and nothing was asked.
    pub new: bool,
}

impl Hub {
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))?;
            Some(cache.join("huggingface"))
        });
        let token_file = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join("token")));
        let token = set("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file?).ok());
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| PUBLIC.to_owned()).trim_end_matches('/').to_owned(),
            token: token.map(|token| Token(token.trim().to_owned())).filter(|token| !token.0.is_empty()),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no")),
            cache: set("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home?.join("hub"))).map(CacheFolder),
        }
    }

    /// Fills `store/models/{id}@{revision}` and writes its manifest last. A second call asks nobody. `say` hears each file.
    pub async fn fetch(&self, store: &Path, id: &str, revision: &str, say: &dyn Fn(&str)) -> Result<Fetched, HubError> {
        let key = model_key(id, revision);
        let folder = store.join("models").join(&key);
        if let Some(commit) = recorded(store, &key, &folder) {
            return Ok(Fetched { folder, commit, bytes: 0, new: false });
        }
        let (commit, bytes, part) = if self.offline {
            let (commit, part) = self.cached(store, id, revision)?;
            (commit, 0, part)
        } else {
            self.downloaded(store, id, revision, say).await?
        };
        place(&part, &folder)?;
        self.record(store, &key, id, revision, &commit, &folder)?;
        Ok(Fetched { folder, commit, bytes, new: true })
    }

    fn cached(&self, store: &Path, id: &str, revision: &str) -> Result<(String, PathBuf), HubError> {
        let missing = || HubError::NotCached {
            id: id.to_owned(),
            revision: revision.to_owned(),
            cache: self.cache.as_ref().map_or_else(|| "(none)".to_owned(), |cache| cache.0.display().to_string()),
        };
        let cache = self.cache.as_ref().ok_or_else(missing)?;
        let snapshot = cache.snapshot(id, revision).ok_or_else(missing)?;
        let part = part_folder(store, id, &snapshot.commit);
        for (name, file) in wanted(id, snapshot.files)? {
            cache::copy(&file, &name, &part.join(&name))?;
        }
        Ok((snapshot.commit, part))
    }

    async fn downloaded(
        &self,
        store: &Path,
        id: &str,
        revision: &str,
        say: &dyn Fn(&str),
    ) -> Result<(String, u64, PathBuf), HubError> {
        let client = self.client();
        let listing = Listing::ask(&client, &self.endpoint, id, revision).await?;
        let part = part_folder(store, id, &listing.commit);
        let cached = self.cache.as_ref().and_then(|cache| cache.snapshot(id, &listing.commit));
        let mut bytes = 0;
        let files = listing.files.into_iter().map(|file| (file.name.clone(), file)).collect();
        for (name, file) in wanted(id, files)? {
            let RemoteFile { size, expected, .. } = file;
            if let Some(known) = cached.as_ref().and_then(|snapshot| snapshot.files.get(&name))
                && cache::copy_verified(known, &part.join(&name), &expected)?
            {
                say(&format!("{name}: from the hub's cache"));
                continue;
            }
            let url = format!("{}/{id}/resolve/{}/{name}", self.endpoint, listing.commit);
            let download = Download { client: &client, url, name: &name, size, expected, target: part.join(&name) };
            let loaded = download.run().await?;
            bytes += loaded;
            say(&format!("{name}: {:.1} MB, verified", size as f64 / 1e6));
        }
        Ok((listing.commit, bytes, part))
    }

    fn client(&self) -> reqwest::Client {
        let mut headers = reqwest::header::HeaderMap::new();
        if let Some(Ok(mut value)) =
            self.token.as_ref().map(|token| format!("Bearer {}", token.0).parse::<reqwest::header::HeaderValue>())
        {
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        reqwest::Client::builder()
            .user_agent(concat!("em-agent/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(30))
            .read_timeout(Duration::from_secs(60))
            .build()
            .expect("a client of plain settings can be made")
    }

    fn record(&self, store: &Path, key: &str, id: &str, revision: &str, commit: &str, folder: &Path) -> Result<(), HubError> {
        let weights = first_weights(folder);
        let sha256 = download::sha256(&weights).map_err(|source| HubError::Io { path: weights, source })?;
        let source = if self.offline { "the hub's cache".to_owned() } else { self.endpoint.clone() };
        let details = [("id", id), ("revision", revision), ("commit", commit), ("source", &source)];
        let entry = Entry {
            kind: EntryKind::Model,
            key: key.to_owned(),
            path: format!("models/{key}"),
            sha256,
            created_at: Timestamp::now(),
            details: details.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        let path = manifest_path(store, EntryKind::Model, key);
        let fail = |source| HubError::Io { path: path.clone(), source };
        let new = path.with_extension("json.new");
        std::fs::create_dir_all(store.join("manifests")).map_err(fail)?;
        std::fs::write(&new, serde_json::to_vec_pretty(&entry).expect("an entry is plain data")).map_err(fail)?;
        std::fs::rename(&new, &path).map_err(fail)
    }
}

/// The commit of a part that is there.
fn recorded(store: &Path, key: &str, folder: &Path) -> Option<String> {
    let json = std::fs::read(manifest_path(store, EntryKind::Model, key)).ok()?;
    let entry: Entry = serde_json::from_slice(&json).ok()?;
    folder.is_dir().then(|| entry.details.get("commit").cloned().unwrap_or_default())
}

/// Same for every try of a commit, so that the next one goes on.
fn part_folder(store: &Path, id: &str, commit: &str) -> PathBuf {
    store.join("tmp").join(format!("hub-{}", model_key(id, commit)))
}

fn place(part: &Path, folder: &Path) -> Result<(), HubError> {
    let fail = |source| HubError::Io { path: folder.to_owned(), source };
    if let Some(models) = folder.parent() {
        std::fs::create_dir_all(models).map_err(fail)?;
    }
    if folder.exists() {
        // An earlier try that was cut off before its manifest.
        std::fs::remove_dir_all(folder).map_err(fail)?;
    }
    std::fs::rename(part, folder).map_err(fail)
}

fn first_weights(folder: &Path) -> PathBuf {
    let whole = folder.join(WEIGHTS);
    if whole.exists() { whole } else { folder.join("model.safetensors.index.json") }
}

/// The files that a server of embeddings reads: settings, tokenizer, safetensors. Not other frameworks' copies of the weights.
fn wanted<T>(id: &str, files: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, HubError> {
    let taken = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        let depth = name.matches('/').count();
        let sound = !name.starts_with('/') && !name.split('/').any(|part| part.is_empty() || part == "..");
        let settings = file.ends_with(".json")
            || file.ends_with(".txt")
            || file.ends_with(".model")
            || file == "README.md"
            || file == "LICENSE";
        let weights = file.ends_with(".safetensors") && (depth == 0 || !name.starts_with("onnx"));
        // Modules of sentence-transformers lie one folder deep: 1_Pooling, 2_Dense.
        sound
            && depth <= 1
            && (settings || weights)
            && !["onnx/", "openvino/", "coreml/"].iter().any(|other| name.starts_with(other))
    };
    let files: BTreeMap<String, T> = files.into_iter().filter(|(name, _)| taken(name)).collect();
    let has_weights = files.keys().any(|name| name.ends_with(".safetensors") && !name.contains('/'));
    if has_weights { Ok(files) } else { Err(HubError::NoSafetensors { id: id.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_reads_is_taken_and_nothing_else() {
        let names = [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "vocab.txt",
            "modules.json",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/openvino_model.xml",
            "README.md",
            ".gitattributes",
            "../evil.json",
            "/etc/evil.json",
            "a/b/deep.json",
        ];
        let files = names.into_iter().map(|name| (name.to_owned(), ())).collect();
        let taken: Vec<String> = wanted("org/model", files).expect("weights are there").into_keys().collect();
        assert_eq!(
            taken,
            [
                "1_Pooling/config.json",
                "2_Dense/model.safetensors",
                "README.md",
                "config.json",
                "model.safetensors",
                "modules.json",
                "tokenizer.json",
                "vocab.txt"
            ]
        );
        let only_bin = [("pytorch_model.bin".to_owned(), ())].into();
        assert!(matches!(wanted::<()>("org/model", only_bin), Err(HubError::NoSafetensors { .. })));
    }
}
