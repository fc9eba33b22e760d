//! Our own service: the graph against a plain reference, the engine, and the server as a process. Models are tiny and made
//! here, except where time must pass. Needs EM_TEST_STORE (for ONNX Runtime and MiniLM) and EM_TEST_AGENT.

mod engine;
mod fuzz;
mod graph;
mod http;
mod modern;
mod modern_reference;
mod prepare;
mod process;
mod reference;
mod tiny;

use std::path::PathBuf;

use em_api::spec::{Device, Dtype};
use em_embed::engine::{Engine, EngineOptions};
use em_embed::prepare::{PrepareOptions, prepare_model};

/// ONNX Runtime of the store; one process holds one, so all tests use this.
fn library() -> PathBuf {
    let store = PathBuf::from(required("EM_TEST_STORE", "the path of a store that `em-agent setup` filled; `make test` sets it"));
    let libraries = std::fs::read_dir(store.join("lib")).expect("EM_TEST_STORE has a folder lib");
    let folders = libraries.map(|entry| entry.expect("a readable folder").path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("a readable folder"));
    let names = files.map(|entry| entry.expect("a readable folder").path());
    names
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so.")))
        .max()
        .expect("EM_TEST_STORE holds lib/onnxruntime-*/libonnxruntime.so.*: run `em-agent setup --backends ort`")
}

fn minilm() -> PathBuf {
    let store = PathBuf::from(required("EM_TEST_STORE", "the path of a store that `em-agent setup` filled; `make test` sets it"));
    em_embed::prepare::model_dir("sentence-transformers/all-MiniLM-L6-v2", "main", Some(&store)).expect("the store holds MiniLM")
}

fn required(variable: &str, what: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: it is {what}"))
}

fn options(model: &tiny::Model) -> EngineOptions {
    EngineOptions {
        model_dir: model.dir().to_owned(),
        library: Some(library()),
        device: Device::Cpu,
        dtype: Dtype::Float32,
        sessions: None,
        threads: Some(1),
        tokenizer_threads: None,
        max_length: None,
        token_budget: None,
        max_queue: 1000,
        pooling: None,
        normalize: true,
    }
}

/// Prepared and loaded.
fn engine(options: EngineOptions) -> Engine {
    let wanted = PrepareOptions { pooling: options.pooling, normalize: options.normalize, ..PrepareOptions::default() };
    prepare_model(&options.model_dir, wanted).expect("a model of our own making");
    Engine::load(options).expect("a prepared model")
}
