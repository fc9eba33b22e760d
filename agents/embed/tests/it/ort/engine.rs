//! The engine: lengths, batches, limits, and what it refuses to do.

use std::sync::Arc;

use em_api::spec::{Device, Dtype};
use em_embed::engine::{EmbedError, Engine, EngineError};
use em_embed::prepare::{PrepareOptions, Target, prepare_model};

use super::tiny::{self, HIDDEN, Model, VOCABULARY};
use super::{engine, minilm, options};

#[tokio::test]
async fn padding_and_truncation_baked_into_the_tokenizer_are_ignored() {
    let engine = engine(options(&Model::new(1)));
    let words: Vec<u32> = (0..20).collect();
    let by_text = engine.embed(vec![tiny::text(&words), tiny::text(&[1])]).await.expect("vectors");
    assert_eq!(by_text.tokens, 22 + 3, "neither padded to 12 nor cut to 8");
    let by_ids = engine.embed_tokens(vec![tiny::ids(&words), tiny::ids(&[1])]).await.expect("vectors");
    assert_eq!(by_text.values, by_ids.values);
}

#[tokio::test]
async fn longer_texts_are_cut_to_the_length_told() {
    let model = Model::new(1);
    let mut wanted = options(&model);
    wanted.max_length = Some(10);
    let engine = engine(wanted);
    let words: Vec<u32> = (0..40).collect();
    let long = engine.embed(vec![tiny::text(&words)]).await.expect("vectors");
    let cut = engine.embed(vec![tiny::text(&words[..8])]).await.expect("vectors");
    assert_eq!((long.tokens, long.values), (10, cut.values));

    let mut too_long = options(&model);
    too_long.max_length = Some(33);
    let refused = Engine::load(too_long).map(drop).expect_err("the position table has 32 rows");
    assert!(matches!(refused, EngineError::MaxLength { wanted: 33, most: 32 }), "{refused}");
}

/// The rotations' table has 8,192 rows, and the operator refuses runs of more tokens.
#[test]
fn batches_on_cuda_have_a_largest_size() {
    let model = Model::new(1);
    let target = Target { device: Device::Cuda, dtype: Dtype::Float16 };
    prepare_model(model.dir(), PrepareOptions { target, ..PrepareOptions::default() }).expect("a model of our own making");
    let mut wanted = options(&model);
    (wanted.device, wanted.dtype, wanted.token_budget) = (Device::Cuda, Dtype::Float16, Some(8193));
    let refused = Engine::load(wanted).map(drop).expect_err("more than the packed graph takes");
    assert!(matches!(refused, EngineError::TokenBudget { wanted: 8193, most: 8192 }), "{refused}");
}

#[tokio::test]
async fn a_text_has_the_same_vector_alone_and_among_500() {
    let engine = Arc::new(engine(options(&Model::new(1))));
    let texts: Vec<String> =
        (0..500_u32).map(|n| tiny::text(&(0..1 + n * 7 % 29).map(|w| (w * n + 3) % 41).collect::<Vec<_>>())).collect();
    let together = engine.embed(texts.clone()).await.expect("vectors");
    let singles = texts.iter().step_by(25).map(|text| engine.embed(vec![text.clone()]));
    let singles = futures_util::future::try_join_all(singles).await.expect("vectors");
    for (single, vector) in singles.iter().zip(together.vectors().step_by(25)) {
        let worst = single.values.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
    let metrics = engine.metrics().text();
    let batches: f64 = metrics
        .lines()
        .find_map(|line| line.strip_prefix("em_embed_batch_texts_count "))
        .expect("a count")
        .parse()
        .expect("a number");
    assert!(batches < 60.0, "requests share batches: {batches}");
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_rest_is_answered() {
    prepare_model(&minilm(), PrepareOptions::default()).expect("MiniLM");
    let engine = Arc::new(engine({
        let mut options = options(&Model::new(1));
        options.model_dir = minilm();
        options.max_queue = 4;
        options
    }));
    let long = "embedding ".repeat(300);
    let requests = (0..12).map(|_| engine.embed(vec![long.clone(); 4]));
    let answers = futures_util::future::join_all(requests).await;
    let full = answers.iter().filter(|answer| matches!(answer, Err(EmbedError::Full { limit: 4, .. }))).count();
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(full > 0 && answered > 0 && full + answered == 12, "{full} refused, {answered} answered");
    assert!(engine.embed(vec![long]).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn ids_outside_the_vocabulary_are_refused() {
    let engine = engine(options(&Model::new(1)));
    let refused = engine.embed_tokens(vec![vec![2, 3], vec![2, VOCABULARY as u32]]).await.expect_err("no such token");
    assert!(matches!(refused, EmbedError::TokenId { list: 1, id: 45, .. }), "{refused}");
}

#[tokio::test]
async fn a_closed_engine_finishes_what_it_took() {
    let engine = engine(options(&Model::new(1)));
    // The first is polled first: its texts are in the queue when the engine closes.
    let (taken, ()) = tokio::join!(engine.embed_tokens(vec![tiny::ids(&[1, 2]); 50]), async { engine.close() });
    assert_eq!(taken.expect("accepted before").values.len(), 50 * HIDDEN);
    assert!(matches!(engine.embed(vec!["w1".into()]).await, Err(EmbedError::Closed)));
    assert!(!engine.accepts());
}

#[test]
fn a_folder_without_a_graph_comes_with_the_cure() {
    let refused = Engine::load(options(&Model::new(1))).map(drop).expect_err("not prepared").to_string();
    assert!(refused.contains("em-agent model prepare"), "{refused}");
}

#[test]
fn cuda_that_is_not_there_never_becomes_the_cpu() {
    let model = Model::new(1);
    let target = Target { device: Device::Cuda, dtype: Dtype::Float16 };
    prepare_model(model.dir(), PrepareOptions { target, ..PrepareOptions::default() }).expect("a model of our own making");
    let mut wanted = options(&model);
    (wanted.device, wanted.dtype) = (Device::Cuda, Dtype::Float16);
    let refused = Engine::load(wanted).map(drop).expect_err("this library has no CUDA");
    assert!(matches!(refused, EngineError::Cuda { .. }), "{refused:?}");
}
