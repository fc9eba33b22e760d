//! `model prepare`: what it leaves alone, what it writes again, what it refuses and how it says so.

use std::path::Path;
use std::time::{Duration, SystemTime};

use em_api::spec::{Device, Dtype, Pooling};
use em_embed::prepare::{PrepareOptions, PreparedModel, Target, model_dir, prepare_model};
use serde_json::json;

use super::tiny::{HIDDEN, Model, POSITIONS};

fn prepare(model: &Model) -> PreparedModel {
    prepare_model(model.dir(), PrepareOptions::default()).expect("a model of our own making")
}

fn refusal(model: &Model) -> String {
    prepare_model(model.dir(), PrepareOptions::default()).expect_err("not supported").to_string()
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a file")
}

#[test]
fn an_up_to_date_graph_is_left_alone() {
    let model = Model::new(1);
    let first = prepare(&model);
    assert!(first.written && first.graph.ends_with("onnx/model.onnx"));
    assert_eq!((first.info.dim, first.info.max_length, first.info.pooling), (HIDDEN, POSITIONS, Pooling::Mean));
    let written_at = modified(&first.graph);
    let second = prepare(&model);
    assert_eq!((second.written, modified(&second.graph), second.info), (false, written_at, first.info));

    let forced = prepare_model(model.dir(), PrepareOptions { force: true, ..PrepareOptions::default() }).expect("the same model");
    assert!(forced.written);
    let left: Vec<_> =
        std::fs::read_dir(model.dir().join("onnx")).expect("a folder").map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(left.len(), 3, "only the graph, its weights and its JSON: {left:?}");
}

#[test]
fn weights_of_another_time_are_hashed_and_of_another_content_written_again() {
    let mut model = Model::new(1);
    let first = prepare(&model);
    let weights = model.dir().join("model.safetensors");
    let later = SystemTime::now() + Duration::from_secs(60);
    let touch =
        |time| std::fs::File::options().write(true).open(&weights).and_then(|file| file.set_modified(time)).expect("a time");
    touch(later);
    assert!(!prepare(&model).written, "a copied folder is not another model");

    model.weights = Model::new(2).weights;
    model.save("", safetensors::Dtype::F32);
    touch(later + Duration::from_secs(60));
    let again = prepare(&model);
    assert!(again.written);
    assert_ne!(again.info.source_sha256, first.info.source_sha256);
}

#[test]
fn graphs_that_end_otherwise_have_names_of_their_own() {
    let model = Model::new(1);
    let with = |pooling, normalize| {
        let options = PrepareOptions { pooling, normalize, ..PrepareOptions::default() };
        let graph = prepare_model(model.dir(), options).expect("a model of our own making").graph;
        graph.file_name().expect("a name").to_string_lossy().into_owned()
    };
    assert_eq!(with(Some(Pooling::Mean), true), "model.onnx");
    assert_eq!(with(Some(Pooling::Cls), true), "model-cls.onnx");
    assert_eq!(with(None, false), "model-mean-raw.onnx");
}

#[test]
fn a_graph_for_cuda_has_weights_and_a_file_of_its_own() {
    let model = Model::new(1);
    let cpu = prepare(&model);
    let on = |dtype| {
        let target = Target { device: Device::Cuda, dtype };
        prepare_model(model.dir(), PrepareOptions { target, ..PrepareOptions::default() })
    };
    let half = on(Dtype::Float16).expect("a model of our own making");
    assert!(half.written && half.graph.ends_with("onnx/model-cuda-float16.onnx"));
    let whole = on(Dtype::Float32).expect("a model of our own making");
    assert!(whole.graph.ends_with("onnx/model-cuda-float32.onnx"));
    assert!(!on(Dtype::Float16).expect("there already").written && !prepare(&model).written);
    let bytes = |graph: &Path| {
        let begin = format!("{}.", graph.file_stem().expect("a name").to_string_lossy());
        let files = std::fs::read_dir(model.dir().join("onnx")).expect("a folder").map(|file| file.expect("a file"));
        let data = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with(&begin) && name.ends_with(".data")
        });
        data.map(|file| file.metadata().expect("a file").len()).collect::<Vec<_>>()
    };
    let (half, whole) = (bytes(&half.graph), bytes(&whole.graph));
    assert_eq!((half.len(), whole.len(), bytes(&cpu.graph).len()), (1, 1, 1));
    assert!(half[0] < whole[0], "{half:?} {whole:?}");
    let refused = on(Dtype::Bfloat16).expect_err("no operators").to_string();
    assert!(refused.contains("bfloat16 on cuda") && refused.contains("float16 on cuda"), "{refused}");
}

#[test]
fn the_lowest_stated_length_counts() {
    let model = Model::new(1);
    model.json("tokenizer_config.json", &json!({"model_max_length": 20}));
    assert_eq!(prepare(&model).info.max_length, 20);
    model.json("sentence_bert_config.json", &json!({"max_seq_length": 16}));
    assert_eq!(prepare(&model).info.max_length, 16);
    model.json("sentence_bert_config.json", &json!({"max_seq_length": 4096}));
    assert_eq!(prepare(&model).info.max_length, POSITIONS);
}

#[test]
fn other_models_are_refused_by_name() {
    let other = refusal(&Model::new(1).with_config("model_type", json!("t5")));
    assert!(other.contains("t5") && other.contains("supported: bert") && other.contains("modernbert"), "{other}");
    let act = refusal(&Model::new(1).with_config("hidden_act", json!("gelu_new")));
    assert!(act.contains("hidden_act") && act.contains("gelu_new"), "{act}");
    let relative = refusal(&Model::new(1).with_config("position_embedding_type", json!("relative_key")));
    assert!(relative.contains("relative_key"), "{relative}");

    let dense = Model::new(1);
    dense.json("modules.json", &json!([{"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]));
    assert!(refusal(&dense).contains("models.Dense"));
    let two = Model::new(1);
    two.pooling(&["cls_token", "mean_tokens"]);
    assert!(refusal(&two).contains("cls_token+mean_tokens"));
    two.pooling(&["max_tokens"]);
    assert!(refusal(&two).contains("max_tokens"));
}

#[test]
fn broken_folders_are_named_and_leave_nothing_behind() {
    let layers = refusal(&Model::new(1).with_config("num_hidden_layers", json!(3)));
    assert!(layers.contains("encoder.layer.2.attention.self.query.weight"), "{layers}");
    let shape = refusal(&Model::new(1).with_config("vocab_size", json!(46)));
    assert!(shape.contains("[46, 32]") && shape.contains("[45, 32]"), "{shape}");

    let cut = Model::new(1);
    let weights = cut.dir().join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("weights");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("half of them");
    assert!(refusal(&cut).contains("download the model again"));
    assert!(!cut.dir().join("onnx").exists());

    let empty = tempfile::tempdir().expect("a folder");
    let none = prepare_model(empty.path(), PrepareOptions::default()).expect_err("no model").to_string();
    assert!(none.contains("config.json"), "{none}");
}

#[test]
fn an_id_that_is_not_in_the_store_comes_with_the_cure() {
    let store = tempfile::tempdir().expect("a folder");
    let absent = model_dir("org/model", "main", Some(store.path())).expect_err("an empty store").to_string();
    assert!(absent.contains("em-agent setup") && absent.contains("org/model"), "{absent}");
    let nowhere = model_dir("org/model", "main", None).expect_err("no store").to_string();
    assert!(nowhere.contains("--store"), "{nowhere}");
}
