//! Text → token ids by the model's own tokenizer.json, without the padding and truncation that such files bake in
//! (MiniLM's pads every text to 128).

use std::path::Path;
use std::sync::Arc;

use tokenizers::{Tokenizer, TruncationParams};

use super::{EmbedError, EngineError};

pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
}

impl TextTokenizer {
    pub(crate) fn load(model_dir: &Path, max_length: usize) -> Result<Self, EngineError> {
        let path = model_dir.join("tokenizer.json");
        let failed = |source| EngineError::Tokenizer { path: path.clone(), source };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(failed)?;
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
        Ok(Self { tokenizer })
    }

    /// Special tokens included; on all cores.
    pub(crate) fn encode(&self, texts: Vec<String>) -> Result<Vec<Vec<u32>>, EmbedError> {
        let encodings = self.tokenizer.encode_batch_fast(texts, true).map_err(|error| EmbedError::Tokenise(Arc::from(error)))?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }
}
