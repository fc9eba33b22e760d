//! The graph that `prepare` writes says what BERT says, for batches of unequal lengths.

use em_api::spec::Pooling;
use safetensors::Dtype;

use super::tiny::{self, Model};
use super::{engine, options, reference};

/// Lengths from one word to the whole position table; all in one batch, so that most rows carry padding.
fn texts() -> Vec<Vec<u32>> {
    let lengths = [1, 30, 2, 7, 30, 15];
    lengths.iter().map(|&length| tiny::ids(&(0..length).map(|place| (place * 7 + length) % 41).collect::<Vec<_>>())).collect()
}

async fn worst_difference(model: &Model, pooling: Pooling, normalize: bool, told: bool) -> f64 {
    let mut options = options(model);
    options.pooling = told.then_some(pooling);
    options.normalize = normalize;
    let embedded = engine(options).embed_tokens(texts()).await.expect("vectors");
    assert_eq!((embedded.vectors().len(), embedded.dim), (texts().len(), tiny::HIDDEN));
    let expected = texts().into_iter().map(|ids| reference::embed(&model.weights, &ids, pooling, normalize));
    let pairs = embedded.vectors().zip(expected);
    pairs
        .flat_map(|(got, want)| got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs()).collect::<Vec<_>>())
        .fold(0.0, f64::max)
}

#[tokio::test]
async fn each_pooling_with_and_without_normalisation_equals_the_reference() {
    let model = Model::new(1);
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
        for normalize in [true, false] {
            let worst = worst_difference(&model, pooling, normalize, true).await;
            assert!(worst < 1e-5, "{pooling:?}, normalize {normalize}: {worst}");
        }
    }
}

#[tokio::test]
async fn pooling_is_read_from_the_models_files() {
    for (mode, pooling) in [("mean_tokens", Pooling::Mean), ("cls_token", Pooling::Cls), ("lasttoken", Pooling::Last)] {
        let model = Model::new(2);
        model.pooling(&[mode]);
        let worst = worst_difference(&model, pooling, true, false).await;
        assert!(worst < 1e-5, "{mode}: {worst}");
    }
}

#[tokio::test]
async fn half_weights_and_weights_under_a_head_are_read() {
    for (prefix, dtype) in [("bert.", Dtype::F32), ("", Dtype::F16), ("", Dtype::BF16)] {
        let model = Model::new(3).rounded(prefix, dtype);
        let worst = worst_difference(&model, Pooling::Mean, true, false).await;
        assert!(worst < 1e-5, "{prefix}{dtype:?}: {worst}");
    }
}

#[tokio::test]
async fn other_weights_give_other_vectors() {
    // What the comparisons above rest on: the reference tells models apart.
    let (model, mut other) = (Model::new(4), Model::new(5));
    let own = worst_difference(&model, Pooling::Mean, true, false).await;
    other.weights.clone_from(&model.weights);
    assert!(own < 1e-5 && worst_difference(&other, Pooling::Mean, true, false).await > 1e-2);
}
