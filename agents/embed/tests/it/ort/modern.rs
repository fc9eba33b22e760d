//! ModernBERT on the CPU says what its plain reference says, for short texts and for texts far longer than its window.

use em_api::spec::Pooling;
use safetensors::Dtype;
use serde_json::json;

use super::modern_reference::{self as reference, HIDDEN};
use super::tiny::{self, Model, Weights};
use super::{engine, options};

fn model(seed: u64, newer: bool) -> Model {
    Model::of(&reference::config(newer), tiny::random(seed, reference::shapes()))
}

/// From one word to 100: the window of the local layers is nine tokens wide.
fn texts() -> Vec<Vec<u32>> {
    let lengths = [1, 100, 3, 9, 40, 15];
    lengths.iter().map(|&length| tiny::ids(&(0..length).map(|place| (place * 7 + length) % 41).collect::<Vec<_>>())).collect()
}

async fn worst_difference(model: &Model, weights: &Weights, pooling: Pooling, normalize: bool) -> f64 {
    let mut options = options(model);
    options.pooling = Some(pooling);
    options.normalize = normalize;
    let embedded = engine(options).embed_tokens(texts()).await.expect("vectors");
    assert_eq!((embedded.vectors().len(), embedded.dim), (texts().len(), HIDDEN));
    let expected = texts().into_iter().map(|ids| reference::embed(weights, &ids, pooling, normalize));
    let worst = |(got, want): (&[f32], Vec<f64>)| {
        got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max)
    };
    embedded.vectors().zip(expected).map(worst).fold(0.0, f64::max)
}

#[tokio::test]
async fn each_pooling_equals_the_reference() {
    let model = model(1, false);
    for (pooling, normalize) in [(Pooling::Mean, true), (Pooling::Mean, false), (Pooling::Cls, true), (Pooling::Last, true)] {
        let worst = worst_difference(&model, &model.weights, pooling, normalize).await;
        assert!(worst < 1e-5, "{pooling:?}, normalize {normalize}: {worst}");
    }
}

#[tokio::test]
async fn newer_configs_and_weights_under_a_head_are_read() {
    let newer = model(2, true);
    assert!(worst_difference(&newer, &newer.weights, Pooling::Mean, true).await < 1e-5);
    let under_a_head = model(3, true).rounded("model.", Dtype::BF16);
    assert!(worst_difference(&under_a_head, &under_a_head.weights, Pooling::Mean, true).await < 1e-5);
}

#[tokio::test]
async fn the_comparison_sees_a_wrong_window_and_a_wrong_angle() {
    for (field, value) in
        [("local_attention", json!(10)), ("local_rope_theta", json!(9_000.0)), ("global_attn_every_n_layers", json!(2))]
    {
        let right = model(4, false);
        let mut config = reference::config(false);
        config[field] = value;
        let wrong = Model::of(&config, tiny::random(4, reference::shapes()));
        let worst = worst_difference(&wrong, &right.weights, Pooling::Mean, true).await;
        assert!(worst > 1e-3, "{field}: {worst}");
    }
}

#[test]
fn what_the_graph_cannot_say_is_refused() {
    let refused = |field: &str, value| {
        let mut config = reference::config(false);
        config[field] = value;
        let model = Model::of(&config, tiny::random(1, reference::shapes()));
        em_embed::prepare::prepare_model(model.dir(), em_embed::prepare::PrepareOptions::default()).expect_err(field).to_string()
    };
    assert!(refused("mlp_bias", json!(true)).contains("mlp_bias"));
    assert!(refused("hidden_activation", json!("silu")).contains("silu"));
    assert!(refused("layer_types", json!(["full_attention"])).contains("num_hidden_layers"));
}
