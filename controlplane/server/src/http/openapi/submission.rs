//! What people may write, made from what the server shows: the schema of a posted experiment is that of a stored one with nearly all
//! fields free to be left out, and with the spellings and bounds of `admit`. And the same for patches.

use serde_json::{Map, Value, json};

use crate::admit::parse_body;

/// Objects of a spec that people write parts of, with the fields that they cannot leave out.
const WRITTEN: [(&str, &[&str]); 11] = [
    ("Spec", &["model", "backends"]),
    ("Model", &["id"]),
    ("Dataset", &[]),
    ("Backend", &["name", "type"]),
    ("Matrix", &[]),
    ("Load", &[]),
    ("Checks", &[]),
    ("ParityCheck", &[]),
    ("Slo", &[]),
    ("Cost", &["perGpuHour"]),
    ("TokenRange", &["max"]),
];
/// The server's own; passed over, so that what GET returned can be posted.
const THEIRS: [&str; 6] = ["uid", "owner", "resourceVersion", "generation", "createdAt", "deletedAt"];
/// As names of experiments and backends are: RFC 1123.
pub(super) const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const EXAMPLES: [(&str, &str); 3] = [
    ("demo", include_str!("../../../../../examples/demo.yaml")),
    ("ort-quick", include_str!("../../../../../examples/ort-quick.yaml")),
    ("modernbert-l40s", include_str!("../../../../../examples/modernbert-l40s.yaml")),
];

pub(super) fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().expect("utoipa wrote an object");
    let written = WRITTEN.into_iter().chain([("Slurm", [].as_slice())]);
    let relaxed: Vec<(String, Value)> =
        written.map(|(name, required)| (format!("New{name}"), relaxed(&schemas[name], required))).collect();
    schemas.extend(relaxed);
    for (name, property, schema) in spellings() {
        schemas[name]["properties"][property] = schema;
    }
    for (name, property, least, most) in BOUNDS {
        let schema = &mut schemas[name]["properties"][property];
        (schema["minimum"], schema["maximum"]) = (least.into(), most.into());
    }
    for (name, property) in [("NewSpec", "backends"), ("NewBackend", "command")] {
        schemas[name]["properties"][property]["minItems"] = json!(1);
    }
    schemas.insert("NewMetadata".to_owned(), metadata());
    schemas.insert("NewExperiment".to_owned(), experiment());
    patch(schemas);
    let content = &mut document["paths"]["/experiments"]["post"]["requestBody"]["content"];
    for (_, media_type) in content.as_object_mut().into_iter().flatten() {
        media_type["examples"] = examples();
    }
}

/// All properties may be left out or `null`, but for the required ones; what lies below is what people write too.
fn relaxed(schema: &Value, required: &[&str]) -> Value {
    let mut relaxed = schema.clone();
    relaxed["required"] = json!(required);
    for (name, property) in relaxed["properties"].as_object_mut().into_iter().flatten() {
        rename(property);
        if !required.contains(&name.as_str()) {
            allow_null(property);
        }
    }
    relaxed
}

fn rename(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().filter(|_| key == "$ref").and_then(|link| link.rsplit('/').next()) {
                    Some(name) if name == "Slurm" || WRITTEN.iter().any(|(written, _)| *written == name) => {
                        *value = link(&format!("New{name}"));
                    }
                    Some(_) => {}
                    None => rename(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}

fn allow_null(schema: &mut Value) {
    if let Some(target) = schema.as_object_mut().and_then(|fields| fields.remove("$ref")) {
        schema["oneOf"] = json!([{"type": "null"}, {"$ref": target}]);
    } else if schema["type"].is_string() {
        schema["type"] = json!([schema["type"], "null"]);
    }
}

fn forbid_null(schema: &mut Value) {
    if let Some(target) = schema["oneOf"].as_array().and_then(|either| either.iter().find(|one| one.get("$ref").is_some())) {
        *schema = target.clone();
    } else if let Some(kind) = schema["type"].get(0) {
        schema["type"] = kind.clone();
    }
}

fn link(name: &str) -> Value {
    json!(format!("#/components/schemas/{name}"))
}

/// Where the form that people write is another one than what is shown.
fn spellings() -> Vec<(&'static str, &'static str, Value)> {
    let whole = |least: u64, most: u64| json!({"type": "integer", "minimum": least, "maximum": most});
    let number = |most: f64| json!({"type": "number", "minimum": 0.001, "maximum": most});
    // One level may stand without brackets.
    let axis = |level: Value, about: &str| {
        let levels = json!({"type": "array", "items": level, "minItems": 1, "maxItems": 64, "uniqueItems": true});
        json!({"oneOf": [level, levels, {"type": "null"}], "description": about})
    };
    let count = |least: u64, about: &str| json!({"oneOf": [whole(least, 100_000_000), {"type": "string", "pattern": r"^\s*[0-9][0-9_,]*(\.[0-9]+)?[kKmM]?\s*$"}, {"type": "null"}], "description": about});
    let text_or_number = |pattern: &str, about: &str, example: &str| json!({"oneOf": [{"type": "string", "pattern": pattern}, {"type": "integer", "minimum": 1}, {"type": "null"}], "description": about, "examples": [example]});
    let env = || json!({"type": ["object", "null"], "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, "additionalProperties": {"type": ["string", "number"]}});
    let label = || json!({"type": "string", "pattern": LABEL, "description": "Unique among the backends."});
    let path = || json!({"type": ["string", "null"], "pattern": "^/", "description": "An absolute path, as compute nodes see it."});
    vec![
        ("NewSpec", "desired", json!({"type": ["string", "null"], "enum": ["Run", "Suspended", null]})),
        (
            "NewModel",
            "id",
            json!({
                "type": "string", "maxLength": 200, "examples": ["sentence-transformers/all-MiniLM-L6-v2"],
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$",
            }),
        ),
        ("NewModel", "path", path()),
        ("NewDataset", "path", path()),
        ("NewDataset", "limit", count(1, "Texts loaded; 100K is 100000.")),
        ("NewLoad", "minRequests", count(0, "A window is extended until it holds so many requests, up to three times its length.")),
        ("NewMatrix", "batchSizes", axis(whole(1, 8_192), "Texts per request.")),
        ("NewMatrix", "concurrency", axis(whole(1, 10_000), "Closed loop: requests in flight.")),
        ("NewMatrix", "requestRate", axis(number(1e6), "Open loop: requests per second.")),
        ("NewMatrix", "textRate", axis(number(1e8), "Open loop: texts per second.")),
        ("NewBackend", "name", label()),
        ("NewBackend", "python", path()),
        ("NewBackend", "apiKeyFile", path()),
        (
            "NewBackend",
            "apiKeyEnv",
            json!({"type": ["string", "null"], "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "description": "A variable of the job that holds the bearer token."}),
        ),
        ("NewBackend", "binary", path()),
        ("NewBackend", "env", env()),
        (
            "NewBackend",
            "sweep",
            json!({
                "type": ["object", "null"], "propertyNames": {"pattern": LABEL},
                "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": ["string", "number"]}},
                "description": "One variant for each combination of the values: `batch`, `dtype`, `device`, or an option without its dashes.",
                "examples": [{"api-server-count": [1, 4]}],
            }),
        ),
        ("NewSlurm", "env", env()),
        ("NewSlurm", "gpus", text_or_number("[^ ]", "GPUs of the job.", "l40s:1")),
        ("NewSlurm", "gpusPerNode", text_or_number("[^ ]", "GPUs of a node.", "1")),
        (
            "NewSlurm",
            "memory",
            text_or_number(r"^\s*[0-9]{1,10}\s*([kKmMgGtT]([iI]?[bB])?)?\s*$", "Of a node; a bare number is MB.", "32G"),
        ),
        (
            "NewSlurm",
            "time",
            json!({
                "oneOf": [{"$ref": link("SlurmTime")}, {"type": "integer", "minimum": 1, "maximum": 527_040}, {"type": "null"}],
                "description": "Time limit; a bare number is minutes.",
            }),
        ),
    ]
}

const BOUNDS: [(&str, &str, i64, i64); 17] = [
    ("NewSpec", "retries", 0, 100),
    ("NewSpec", "maxContinuations", 0, 1_000),
    ("NewSpec", "priority", -1_000_000, 1_000_000),
    ("NewModel", "maxLength", 1, 1_048_576),
    ("NewDataset", "seed", 0, i64::MAX),
    ("NewBackend", "batch", 1, 1_000_000),
    ("NewLoad", "repetitions", 1, 100),
    ("NewTokenRange", "min", 0, 1_000_000),
    ("NewTokenRange", "max", 1, 1_000_000),
    ("NewSlo", "p99Ms", 0, 3_600_000),
    ("NewSlo", "successRate", 0, 1),
    ("NewCost", "perGpuHour", 0, 1_000_000),
    ("NewSlurm", "nodes", 1, 1),
    ("NewSlurm", "cpusPerTask", 1, 65_536),
    ("NewSlurm", "nice", -2_147_483_645, 2_147_483_645),
    ("SpecPatch", "retries", 0, 100),
    ("SpecPatch", "priority", -1_000_000, 1_000_000),
];

fn experiment() -> Value {
    json!({
        "type": "object",
        "description": "An experiment as people write it: what is left out or null gets its default. What GET returned is one too.",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [em_api::experiment::API_VERSION]},
            "kind": {"type": "string", "enum": [em_api::experiment::KIND]},
            "metadata": {"$ref": link("NewMetadata")},
            "spec": {"$ref": link("NewSpec")},
            "status": {"description": "Passed over."},
        },
        "additionalProperties": false,
    })
}

fn metadata() -> Value {
    let pairs = |values: Value, about: &str| json!({"type": ["object", "null"], "maxProperties": 64, "additionalProperties": values, "description": about});
    let value = json!({"type": ["string", "null"], "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"});
    let mut metadata = json!({
        "type": "object",
        "description": "Its name and its labels.",
        "properties": {
            "name": {"type": ["string", "null"], "pattern": LABEL, "description": "Unique among living experiments."},
            "generateName": {
                "type": ["string", "null"], "maxLength": 58, "pattern": "^[a-z0-9][a-z0-9-]*$",
                "description": "In place of a name: its start, to which the server adds five characters.",
            },
            "labels": pairs(value, "For selectors; with the rules of Kubernetes."),
            "annotations": pairs(json!({"type": ["string", "null"]}), "Free text under keys; 64 KiB in all."),
        },
        "oneOf": [
            {"required": ["name"], "properties": {"name": {"type": "string"}, "generateName": {"type": "null"}}},
            {"required": ["generateName"], "properties": {"generateName": {"type": "string"}, "name": {"type": "null"}}},
        ],
        "additionalProperties": false,
    });
    pass_over(&mut metadata, &THEIRS);
    metadata
}

/// A whole experiment, as GET returned it and with changes, is a patch too.
fn patch(schemas: &mut Map<String, Value>) {
    pass_over(&mut schemas["ExperimentPatch"], &["apiVersion", "kind", "status"]);
    pass_over(&mut schemas["MetadataPatch"], &THEIRS);
    schemas["MetadataPatch"]["properties"]["name"] = json!({"type": ["string", "null"], "description": "The name that it has."});
    for (name, fields) in
        [("ExperimentPatch", ["metadata", "spec"].as_slice()), ("SpecPatch", &["desired", "retries", "priority", "logsTtl"])]
    {
        fields.iter().for_each(|field| forbid_null(&mut schemas[name]["properties"][*field]));
    }
    schemas["SpecPatch"]["additionalProperties"] = json!({"description": "Fixed at creation: the value that it has, or 409."});
}

fn pass_over(schema: &mut Value, fields: &[&str]) {
    for field in fields {
        schema["properties"][*field] = json!({"description": "Passed over."});
    }
}

/// The files of `examples/`, each under its first line.
fn examples() -> Value {
    let example = |(name, text): &(&str, &str)| {
        let summary = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
        let value = parse_body(text.as_bytes(), Some("application/yaml")).expect("a test posts each example");
        ((*name).to_owned(), json!({"summary": summary, "value": value}))
    };
    EXAMPLES.iter().map(example).collect()
}
