//! Flags and a file → the body to post. Pure, but for making a model's folder absolute.

use em_api::HumanDuration;
use em_api::experiment::{API_VERSION, KIND};
use serde_json::{Map, Value, json};

use super::flags::SpecFlags;
use crate::failure::Failure;

/// The server's default: said here because a cell's time is split over them.
const REPETITIONS: u32 = 5;
const TYPES: [&str; 5] = ["ort", "vllm", "huggingface", "tei", "openai"];

/// The body, and notes about choices that a user may not expect.
pub(crate) fn compose(file: Option<Value>, flags: &SpecFlags) -> Result<(Value, Vec<String>), Failure> {
    let mut notes = Vec::new();
    let alone = file.is_none();
    let mut body = file.unwrap_or_else(|| json!({"apiVersion": API_VERSION, "kind": KIND}));
    metadata(&mut body, flags, alone)?;
    model(&mut body, flags)?;
    backends(&mut body, flags, &mut notes)?;
    set(&mut body, "spec.dataset.source", &flags.dataset)?;
    set(&mut body, "spec.dataset.path", &flags.dataset_path)?;
    set(&mut body, "spec.dataset.limit", &flags.num_sentences.as_deref().map(number_or_text))?;
    set(&mut body, "spec.dataset.seed", &flags.seed)?;
    set(&mut body, "spec.matrix.batchSizes", &given(&flags.batch_sizes))?;
    axis(&mut body, "concurrency", given(&flags.concurrency))?;
    axis(&mut body, "requestRate", given(&flags.request_rate))?;
    axis(&mut body, "textRate", given(&flags.text_rate))?;
    load(&mut body, flags, &mut notes)?;
    for (field, value) in [
        ("partition", &flags.partition),
        ("gres", &flags.gres),
        ("gpus", &flags.gpus),
        ("time", &flags.time),
        ("memory", &flags.memory),
        ("account", &flags.account),
        ("qos", &flags.qos),
        ("constraint", &flags.constraint),
        ("nodelist", &flags.nodelist),
    ] {
        set(&mut body, &format!("spec.slurm.{field}"), value)?;
    }
    set(&mut body, "spec.slurm.cpusPerTask", &flags.cpus)?;
    Ok((body, notes))
}

fn metadata(body: &mut Value, flags: &SpecFlags, alone: bool) -> Result<(), Failure> {
    if let Some(name) = &flags.name {
        let metadata = section(body, "metadata")?;
        metadata.remove("generateName");
        metadata.insert("name".to_owned(), json!(name));
    } else if alone {
        let prefix = flags.model.as_deref().map(name_prefix).unwrap_or_default();
        section(body, "metadata")?.insert("generateName".to_owned(), json!(prefix));
    }
    for label in &flags.labels {
        let (key, value) = label.split_once('=').ok_or_else(|| Failure::Usage(format!("--label {label}: write KEY=VALUE")))?;
        section(body, "metadata.labels")?.insert(key.to_owned(), json!(value));
    }
    Ok(())
}

/// `answerdotai/ModernBERT-base` → `modernbert-base-`, to which the server adds five characters.
fn name_prefix(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let plain: String = last.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).take(40).collect();
    match plain.trim_matches('-') {
        "" => "experiment-".to_owned(),
        plain => format!("{plain}-"),
    }
}

fn model(body: &mut Value, flags: &SpecFlags) -> Result<(), Failure> {
    if let Some(model) = &flags.model {
        let section = section(body, "spec.model")?;
        if section.get("id").and_then(Value::as_str) != Some(model) {
            // They belong to the model that the file names.
            section.remove("revision");
            section.remove("path");
        }
        if model.starts_with(['/', '.']) {
            let path = std::path::absolute(model).map_err(|source| Failure::Usage(format!("--model {model}: {source}")))?;
            let path: std::path::PathBuf = path.components().collect();
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            section.insert("id".to_owned(), json!(id));
            section.insert("path".to_owned(), json!(path.to_string_lossy()));
        } else {
            section.insert("id".to_owned(), json!(model));
        }
    }
    set(body, "spec.model.revision", &flags.revision)?;
    set(body, "spec.model.dtype", &flags.dtype)?;
    set(body, "spec.model.maxLength", &flags.max_length)
}

fn backends(body: &mut Value, flags: &SpecFlags, notes: &mut Vec<String>) -> Result<(), Failure> {
    if !flags.backends.is_empty() {
        let spec = section(body, "spec")?;
        let held = match spec.remove("backends") {
            Some(Value::Array(held)) => held,
            _ => Vec::new(),
        };
        let mut chosen: Vec<Value> = Vec::new();
        for wanted in flags.backends.iter().filter(|wanted| !wanted.is_empty()) {
            for entry in entries(&held, wanted) {
                if !chosen.contains(&entry) {
                    chosen.push(entry);
                }
            }
        }
        spec.insert("backends".to_owned(), Value::Array(chosen));
        drop_reference(body, flags, notes);
    }
    if let Some(device) = &flags.device
        && let Some(Value::Array(backends)) = body.pointer_mut("/spec/backends")
    {
        for backend in backends.iter_mut().filter_map(Value::as_object_mut) {
            backend.insert("device".to_owned(), json!(device));
        }
    }
    set(body, "spec.checks.parity.reference", &flags.reference)
}

/// The file's entries of that name, else of that type; else a new one with the defaults.
fn entries(held: &[Value], wanted: &str) -> Vec<Value> {
    let kind = if wanted == "hf" { "huggingface" } else { wanted };
    let with = |field: &str, value: &str| -> Vec<Value> {
        held.iter().filter(|entry| entry.get(field).and_then(Value::as_str) == Some(value)).cloned().collect()
    };
    for found in [with("name", wanted), with("type", kind)] {
        if !found.is_empty() {
            return found;
        }
    }
    // An unknown type is posted as it is: the server answers with the known ones.
    let name = if TYPES.contains(&kind) { wanted } else { kind };
    vec![json!({"name": name, "type": kind})]
}

/// A reference that is no longer compared would be refused: it goes, and the user is told.
fn drop_reference(body: &mut Value, flags: &SpecFlags, notes: &mut Vec<String>) {
    let reference = body.pointer("/spec/checks/parity/reference").and_then(Value::as_str).map(str::to_owned);
    let Some(reference) = reference.filter(|_| flags.reference.is_none()) else { return };
    // Variants of a sweep are named by the server, after the entry's name.
    let named = |entry: &Value| {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        name == reference || (entry.get("sweep").is_some() && reference.starts_with(&format!("{name}-")))
    };
    let kept = body.pointer("/spec/backends").and_then(Value::as_array).is_some_and(|backends| backends.iter().any(named));
    if let Some(parity) = body.pointer_mut("/spec/checks/parity").and_then(Value::as_object_mut).filter(|_| !kept) {
        parity.remove("reference");
        notes.push(format!("note: the reference `{reference}` is not among the backends: agreement of vectors stays unknown"));
    }
}

/// One load axis in place of those of the file.
fn axis(body: &mut Value, name: &str, levels: Option<Value>) -> Result<(), Failure> {
    if let Some(levels) = levels {
        let matrix = section(body, "spec.matrix")?;
        for other in ["concurrency", "requestRate", "textRate"] {
            matrix.remove(other);
        }
        matrix.insert(name.to_owned(), levels);
    }
    Ok(())
}

/// `load.duration` is of one window; the flag is of one cell.
fn load(body: &mut Value, flags: &SpecFlags, notes: &mut Vec<String>) -> Result<(), Failure> {
    set(body, "spec.load.repetitions", &flags.repetitions)?;
    set(body, "spec.load.warmup", &flags.warmup)?;
    set(body, "spec.load.minRequests", &flags.min_requests)?;
    let Some(cell) = flags.duration.or(flags.duration_minutes) else { return Ok(()) };
    let held = body.pointer("/spec/load/repetitions").and_then(Value::as_u64).and_then(|held| u32::try_from(held).ok());
    let repetitions = held.filter(|held| *held > 0).unwrap_or(REPETITIONS);
    let window = HumanDuration(cell.0 / repetitions);
    set(body, "spec.load.repetitions", &Some(repetitions))?;
    set(body, "spec.load.duration", &Some(window))?;
    notes.push(format!("note: {cell} a cell are {repetitions} repetitions of {window}"));
    Ok(())
}

fn given<T: serde::Serialize>(levels: &[T]) -> Option<Value> {
    if levels.is_empty() { None } else { Some(json!(levels)) }
}

fn number_or_text(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

/// Sets a field where a value is given.
fn set<T: serde::Serialize>(body: &mut Value, path: &str, value: &Option<T>) -> Result<(), Failure> {
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(value) = value {
        section(body, parent)?.insert(field.to_owned(), json!(value));
    }
    Ok(())
}

/// The object at a path, made where it is missing.
fn section<'b>(body: &'b mut Value, path: &str) -> Result<&'b mut Map<String, Value>, Failure> {
    let mut place = body;
    for name in path.split('.') {
        let object =
            place.as_object_mut().ok_or_else(|| Failure::Usage(format!("the file has no object where `{path}` belongs")))?;
        place = object.entry(name).or_insert(Value::Null);
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
    }
    place.as_object_mut().ok_or_else(|| Failure::Usage(format!("`{path}` in the file is not an object")))
}
