//! The packed graphs on a real GPU say what the plain references say, whatever runs beside a text. `make test-gpu`; needs
//! EM_TEST_ORT_GPU, the path of a libonnxruntime.so with its CUDA provider beside it.

#[path = "../it/ort/modern_reference.rs"]
mod modern_reference;
#[path = "../it/ort/reference.rs"]
mod reference;
#[path = "../it/ort/tiny.rs"]
#[expect(dead_code, reason = "the CPU's tests use the rest")]
mod tiny;

use std::path::PathBuf;

use em_api::spec::{Device, Dtype, Pooling};
use em_embed::engine::{Engine, EngineOptions};
use em_embed::prepare::{PrepareOptions, Target, prepare_model};
use tiny::Model;

fn engine(model: &Model, dtype: Dtype, pooling: Pooling, normalize: bool, token_budget: Option<usize>) -> Engine {
    let library = std::env::var("EM_TEST_ORT_GPU")
        .expect("EM_TEST_ORT_GPU is not set: it is the path of an ONNX Runtime library with the CUDA provider beside it");
    let target = Target { device: Device::Cuda, dtype };
    let options = PrepareOptions { pooling: Some(pooling), normalize, target, force: false };
    prepare_model(model.dir(), options).expect("a model of our own making");
    Engine::load(EngineOptions {
        model_dir: model.dir().to_owned(),
        library: Some(PathBuf::from(library)),
        device: Device::Cuda,
        dtype,
        sessions: Some(2),
        threads: Some(1),
        tokenizer_threads: Some(1),
        max_length: None,
        token_budget,
        max_queue: 10_000,
        pooling: Some(pooling),
        normalize,
    })
    .expect("a GPU, its driver, and CUDA's libraries on LD_LIBRARY_PATH")
}

/// From 3 to `longest` tokens.
fn texts(count: u32, longest: u32) -> Vec<Vec<u32>> {
    let words = |text: u32| (0..1 + text * 37 % (longest - 2)).map(|place| (place * 7 + text) % 41).collect::<Vec<_>>();
    (0..count).map(|text| tiny::ids(&words(text))).collect()
}

/// The largest difference of a number, as a share of its vector's length: half precision rounds by shares.
async fn worst(engine: &Engine, texts: &[Vec<u32>], reference: impl Fn(&[u32]) -> Vec<f64>) -> f64 {
    let embedded = engine.embed_tokens(texts.to_vec()).await.expect("vectors");
    let differences = embedded.vectors().zip(texts).flat_map(|(got, ids)| {
        let wanted = reference(ids);
        let length = wanted.iter().map(|x| x * x).sum::<f64>().sqrt();
        got.iter().zip(wanted).map(move |(got, wanted)| (f64::from(*got) - wanted).abs() / length).collect::<Vec<_>>()
    });
    differences.fold(0.0, f64::max)
}

const BOTH: [(Dtype, f64); 2] = [(Dtype::Float32, 1e-5), (Dtype::Float16, 5e-3)];
const ENDS: [(Pooling, bool); 4] = [(Pooling::Mean, true), (Pooling::Mean, false), (Pooling::Cls, true), (Pooling::Last, true)];

#[tokio::test]
async fn modernbert_packed_equals_its_reference() {
    let model = Model::of(&modern_reference::config(true), tiny::random(1, modern_reference::shapes()));
    for (dtype, most) in BOTH {
        for (pooling, normalize) in ENDS {
            let engine = engine(&model, dtype, pooling, normalize, None);
            let worst =
                worst(&engine, &texts(60, 250), |ids| modern_reference::embed(&model.weights, ids, pooling, normalize)).await;
            assert!(worst < most, "{dtype:?} {pooling:?} {normalize}: {worst}");
        }
    }
}

#[tokio::test]
async fn bert_packed_equals_its_reference() {
    let model = Model::new(1);
    for (dtype, most) in BOTH {
        for (pooling, normalize) in ENDS {
            let engine = engine(&model, dtype, pooling, normalize, None);
            let worst = worst(&engine, &texts(60, 32), |ids| reference::embed(&model.weights, ids, pooling, normalize)).await;
            assert!(worst < most, "{dtype:?} {pooling:?} {normalize}: {worst}");
        }
    }
}

/// Each shape's graph is used after all others were recorded: what one writes must not lie where another reads. Batches of 8,192
/// tokens are beyond every recorded shape, and longer than the model's longest text.
#[tokio::test]
async fn a_text_has_the_same_vector_alone_and_among_500() {
    let model = Model::of(&modern_reference::config(true), tiny::random(2, modern_reference::shapes()));
    let texts = texts(500, 250);
    for token_budget in [None, Some(8192)] {
        let engine = engine(&model, Dtype::Float32, Pooling::Mean, true, token_budget);
        let together = engine.embed_tokens(texts.clone()).await.expect("vectors");
        for (ids, vector) in texts.iter().zip(together.vectors()).step_by(9) {
            let alone = engine.embed_tokens(vec![ids.clone()]).await.expect("a vector");
            let worst = alone.values.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{token_budget:?}, {} tokens: {worst}", ids.len());
        }
    }
}
