//! The texts of this run: where the data set lies, and the 200 texts whose vectors all backends are compared by.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use em_api::agent::ParityVectors;
use em_api::inputs::{EntryKind, dataset_key};
use em_api::plan::Plan;
use em_api::spec::Wire;
use em_load::{DatasetRef, LoadError};
use sha2::{Digest, Sha256};

use crate::inputs::{self, InputError};

const COUNT: usize = 200;
/// Servers limit the texts of a request (TEI to 32 unless told).
const CHUNK: usize = 25;

/// Loaded once a run.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) dataset: DatasetRef,
    parity: Vec<String>,
    sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TextsError {
    #[error(transparent)]
    Store(#[from] InputError),
    #[error(transparent)]
    Dataset(#[from] em_load::DatasetError),
}

/// Reads the data set of the plan. Blocking.
pub(crate) fn load(plan: &Plan) -> Result<Texts, TextsError> {
    let path = match &plan.dataset.path {
        Some(path) => PathBuf::from(path),
        None => inputs::find(Path::new(&plan.store_dir), EntryKind::Dataset, &dataset_key(plan.dataset.source))?.1,
    };
    let dataset = DatasetRef { source: plan.dataset.source, path, limit: plan.dataset.limit, seed: plan.dataset.seed };
    let parity = em_load::dataset::load(&dataset)?.parity_texts(COUNT);
    let sha256 = hash(&parity);
    Ok(Texts { dataset, parity, sha256 })
}

/// SHA-256 over the texts, each followed by a NUL.
fn hash(texts: &[String]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hex::encode(hasher.finalize())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParityError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the vectors of the parity texts have different lengths: {0} and {1}")]
    Ragged(usize, usize),
}

impl Texts {
    /// Asks a service for the vectors of the parity texts.
    pub(crate) async fn vectors(&self, url: &str, wire: Wire, model: &str, timeout: Duration) -> Result<Vectors, ParityError> {
        let mut rows = Vec::with_capacity(self.parity.len());
        for chunk in self.parity.chunks(CHUNK) {
            rows.extend(em_load::embed_once(url, wire, model, chunk, timeout).await?);
        }
        let dim = rows.first().map_or(0, Vec::len);
        if let Some(odd) = rows.iter().find(|row| row.len() != dim) {
            return Err(ParityError::Ragged(dim, odd.len()));
        }
        Ok(Vectors { rows, dim })
    }

    pub(crate) fn parity_record(&self, backend: &str, repetition: u32, vectors: &Vectors) -> ParityVectors {
        let bytes: Vec<u8> = vectors.rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        ParityVectors {
            backend: backend.to_owned(),
            repetition,
            dim: u32::try_from(vectors.dim).unwrap_or(u32::MAX),
            count: u32::try_from(vectors.rows.len()).unwrap_or(u32::MAX),
            texts_sha256: self.sha256.clone(),
            vectors: STANDARD.encode(bytes),
        }
    }
}

pub(crate) struct Vectors {
    rows: Vec<Vec<f32>>,
    pub(crate) dim: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_texts_apart_that_only_their_ends_do() {
        let of = |texts: &[&str]| hash(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&[]), hex::encode(Sha256::digest([])));
        assert_eq!(of(&["a"]), hex::encode(Sha256::digest(b"a\0")));
    }
}
