//! `spec.model` and `spec.dataset`. Ids become folder names in the store and arguments of servers: nothing in them may climb
//! out of a folder or look like an option.

use em_api::spec::{Dataset, DatasetSource, Dtype, Model, Pooling};

use super::reader::{Node, shorten};

pub(super) const DTYPES: [(&str, Dtype); 4] =
    [("float32", Dtype::Float32), ("float16", Dtype::Float16), ("bfloat16", Dtype::Bfloat16), ("int8", Dtype::Int8)];

const SOURCES: [(&str, DatasetSource); 6] = [
    ("wordnet", DatasetSource::Wordnet),
    ("msmarco", DatasetSource::Msmarco),
    ("tsv", DatasetSource::Tsv),
    ("jsonl", DatasetSource::Jsonl),
    ("text", DatasetSource::Text),
    ("parquet", DatasetSource::Parquet),
];

pub(super) fn read_model(node: Node<'_>) -> Option<Model> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.object();
    let id = object.field("id").required().parsed("a model id such as sentence-transformers/all-MiniLM-L6-v2", read_id);
    let pooling = [("mean", Pooling::Mean), ("cls", Pooling::Cls), ("last", Pooling::Last)];
    let revision = object.field("revision").parsed("a branch, tag or commit", read_revision);
    let path = object.field("path").parsed("the path of a folder", read_path);
    let pooling = object.field("pooling").word("pooling", &pooling).unwrap_or(Pooling::Mean);
    let normalize = object.field("normalize").boolean().unwrap_or(true);
    let dtype = object.field("dtype").word("dtype", &DTYPES).unwrap_or(Dtype::Float32);
    let max_length = object.field("maxLength").whole(1..=1_048_576).map(|tokens| tokens as u32);
    object.finish();
    Some(Model { id: id?, revision: revision.unwrap_or_else(|| "main".to_owned()), path, pooling, normalize, dtype, max_length })
}

pub(super) fn read_dataset(node: Node<'_>) -> Dataset {
    let mut object = node.object();
    let source = object.field("source").word("data source", &SOURCES);
    let path_node = object.field("path");
    let path = path_node.parsed("the path of a file", read_path);
    // Without a path the texts come from the store, where `em-agent data prepare` puts those of any source.
    if source.unwrap_or(DatasetSource::Wordnet) == DatasetSource::Wordnet && path_node.is_set() {
        path_node.refuse("`wordnet` is built in and takes no path");
    }
    let limit = object.field("limit").count(1..=100_000_000).unwrap_or(100_000);
    let seed = object.field("seed").whole(0..=i64::MAX as u64).unwrap_or(42);
    object.finish();
    Dataset { source: source.unwrap_or(DatasetSource::Wordnet), path, limit, seed }
}

/// Paths are opened on a compute node, in a job directory of its own: only an absolute one means the same there.
pub(super) fn read_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not an absolute path; it is opened on the compute node, so write it from `/`", shorten(text)))
    }
}

fn read_id(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() <= 2 && parts.iter().all(|part| is_hub_word(part)) && text.len() <= 200 {
        return Ok(text.to_owned());
    }
    let cure = if text.starts_with(['/', '.', '~']) { " (a folder goes into `path`)" } else { "" };
    Err(format!("`{}` is not a model id such as sentence-transformers/all-MiniLM-L6-v2{cure}", shorten(text)))
}

fn read_revision(text: &str) -> Result<String, String> {
    if text.len() <= 200 && text.split('/').all(is_hub_word) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not a branch, tag or commit", shorten(text)))
    }
}

fn is_hub_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !text.contains("..")
}
