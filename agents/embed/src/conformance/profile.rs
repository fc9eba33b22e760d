//! Where kinds of servers rightly differ. Each difference has a name: a check that meets one says so and passes only for the
//! kinds that are known for it, so that a new difference is noticed.

use em_api::spec::BackendKind;
use strum::{IntoStaticStr, VariantArray};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Difference {
    /// `GET /v1/models` is not there.
    NoModelList,
    /// `GET /metrics` is not there.
    NoMetrics,
    /// `/v1/embeddings` answers whatever model is named.
    AnyModelName,
    /// A text that is too long is cut without being asked to.
    CutsUnasked,
    /// There is no field or setting that makes it cut: too long is refused always.
    NeverCuts,
    /// A text without characters is refused.
    NoEmptyText,
    /// No number of texts is too many.
    NoTextLimit,
    /// An empty list of texts is answered with an empty list.
    EmptyListAnswered,
    /// Token ids in place of texts are refused.
    NoTokenIds,
    /// Token ids beyond the vocabulary are answered, with a vector of something.
    AnyTokenId,
    /// `dimensions` is refused: the model's vectors cannot be shortened.
    NoDimensions,
    /// `dimensions` is passed over.
    IgnoresDimensions,
    /// An unknown `encoding_format` is passed over.
    AnyEncoding,
    /// `encoding_format: base64` is refused or passed over.
    NoBase64,
    /// Errors have another shape than OpenAI's `{"error": {"message": …}}`.
    OwnErrors,
    /// `usage` counts no tokens.
    NoUsage,
    /// SIGTERM ends open requests.
    DropsOpenRequests,
    /// Half a pair of surrogates in JSON is taken, as a replacement character.
    LoneSurrogates,
}

use Difference::*;

impl Difference {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What this kind is known for. Of `openai`, a server that somebody else chose, nothing is known: it may differ in all.
pub fn known(kind: BackendKind) -> &'static [Difference] {
    match kind {
        BackendKind::Ort => &[CutsUnasked, NoEmptyText],
        BackendKind::Huggingface => &[CutsUnasked, NoTextLimit, NoTokenIds, NoDimensions],
        BackendKind::Vllm => &[NoTextLimit, NoDimensions, DropsOpenRequests],
        BackendKind::Tei => &[NoModelList, AnyModelName, CutsUnasked, NoEmptyText, AnyTokenId, OwnErrors],
        BackendKind::Openai => Difference::VARIANTS,
    }
}
