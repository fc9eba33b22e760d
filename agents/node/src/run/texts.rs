//! The texts of this run: where the data set lies, and the vectors of the parity texts that all backends are compared by.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use em_api::agent::ParityVectors;
use em_api::inputs::{EntryKind, dataset_key};
use em_api::plan::Plan;
use em_api::spec::Wire;
use em_embed::launch::Service;
use em_embed::parity;
use em_load::{DatasetRef, Key, LoadError, Target};

use crate::inputs::{self, InputError};

/// Servers limit the texts of a request (TEI to 32 unless told).
const CHUNK: usize = 25;

/// Loaded once a run.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) dataset: DatasetRef,
    parity: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TextsError {
    #[error(transparent)]
    Store(#[from] InputError),
    #[error(transparent)]
    Dataset(#[from] em_load::DatasetError),
}

/// Looks at the data set of the plan, so that one that cannot be read ends the run before any service starts. Blocking.
pub(crate) fn load(plan: &Plan) -> Result<Texts, TextsError> {
    let path = match &plan.dataset.path {
        Some(path) => PathBuf::from(path),
        None => inputs::find(Path::new(&plan.store_dir), EntryKind::Dataset, &dataset_key(plan.dataset.source))?.1,
    };
    let dataset = DatasetRef { source: plan.dataset.source, path, limit: plan.dataset.limit, seed: plan.dataset.seed };
    em_load::dataset::load(&dataset)?;
    Ok(Texts { dataset, parity: parity::texts() })
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParityError {
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The key of a protected server.
    #[error("{0}")]
    Key(String),
    #[error("the vectors of the parity texts have different lengths: {0} and {1}")]
    Ragged(usize, usize),
}

impl Texts {
    /// Asks a service for the vectors of the parity texts.
    pub(crate) async fn vectors(&self, service: &Service, wire: Wire, timeout: Duration) -> Result<Vectors, ParityError> {
        let url = service.endpoint(wire);
        let key = service.key.read().map_err(ParityError::Key)?.map(|key| Key::new(key.expose())).transpose()?;
        let target = Target { url: &url, wire, model: &service.model_name, fields: &service.request_fields, key: key.as_ref() };
        let mut rows = Vec::with_capacity(self.parity.len());
        for chunk in self.parity.chunks(CHUNK) {
            rows.extend(em_load::embed_once(target, chunk, timeout).await?);
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
            texts_sha256: parity::sha256(&self.parity),
            vectors: STANDARD.encode(bytes),
        }
    }
}

pub(crate) struct Vectors {
    rows: Vec<Vec<f32>>,
    pub(crate) dim: usize,
}
