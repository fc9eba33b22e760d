//! `spec.backends`: each entry is read, checked against what its type can do, and expanded into its variants.

use em_api::HumanDuration;
use em_api::spec::{Backend, BackendKind, Device, Dtype, ParityGate, Wire};
use url::Url;

use super::metadata::read_label;
use super::model::{DTYPES, read_path};
use super::reader::{Node, Object, shorten};
use super::slurm::{env_name_error, read_env, texts};
use super::sweep::{self, Sweep};

pub(super) const MOST_VARIANTS: usize = 64;
pub(super) const LARGEST_SERVER_BATCH: u64 = 1_000_000;

pub(super) const DEVICES: [(&str, Device); 2] = [("cuda", Device::Cuda), ("cpu", Device::Cpu)];

const KINDS: [(&str, BackendKind); 5] = [
    ("ort", BackendKind::Ort),
    ("vllm", BackendKind::Vllm),
    ("huggingface", BackendKind::Huggingface),
    ("tei", BackendKind::Tei),
    ("openai", BackendKind::Openai),
];

/// What backends take from the rest of the spec.
pub(super) struct Context {
    pub(super) dtype: Dtype,
    pub(super) wire: Wire,
    /// Default of `device`: a job that asks for GPUs shall use them.
    pub(super) gpus_asked: bool,
}

pub(super) fn read(node: Node<'_>, context: &Context) -> Vec<Backend> {
    let items = node.items();
    if items.as_ref().is_some_and(Vec::is_empty) {
        node.refuse("is empty; name at least one backend");
    }
    let mut backends: Vec<Backend> = Vec::new();
    for item in items.unwrap_or_default() {
        for variant in read_entry(&item, context) {
            if backends.iter().any(|known| known.name == variant.name) {
                item.object().field("name").refuse(format!("a second backend is named `{}`; names must differ", variant.name));
            } else if backends.len() == MOST_VARIANTS {
                node.refuse(format!("holds more than {MOST_VARIANTS} variants"));
                return backends;
            } else {
                backends.push(variant);
            }
        }
    }
    backends
}

/// The variants of one entry; none when something in it is wrong (recorded).
fn read_entry(item: &Node<'_>, context: &Context) -> Vec<Backend> {
    let mut section = item.object();
    let object = &mut section;
    let name = object.field("name").required().parsed("a name", read_label);
    let kind = object.field("type").required().word("backend type", &KINDS);
    let device = object.field("device").word("device", &DEVICES);
    let dtype = object.field("dtype").word("dtype", &DTYPES);
    let args = texts(object.field("args"), |_| None);
    let env = read_env(object.field("env"), env_name_error);
    let batch = object.field("batch").whole(1..=LARGEST_SERVER_BATCH).map(|batch| batch as u32);
    let start_timeout = object.field("startTimeout").duration(1.0..=86_400.0);
    let python = object.field("python").parsed("the path of an interpreter", read_path);
    let command = read_command(object.field("command"));
    let url = object.field("url").parsed("the address of a server", read_url);
    let api_key_file = object.field("apiKeyFile").parsed("the path of a file", read_path);
    let api_key_env = read_env_name(object.field("apiKeyEnv"));
    let binary = object.field("binary").parsed("the path of a program", read_path);
    let image = object.field("image").text();
    let parity = read_gate(object.field("parity"));
    let sweep = sweep::read(object.field("sweep"));
    let (name, kind) = match (name, kind) {
        (Some(name), Some(kind)) => (name, kind),
        _ => {
            section.finish();
            return Vec::new();
        }
    };
    let backend = Backend {
        name,
        kind,
        device: device.unwrap_or(if context.gpus_asked { Device::Cuda } else { Device::Cpu }),
        dtype,
        args,
        env,
        python,
        command,
        url,
        api_key_file,
        api_key_env,
        binary,
        image,
        batch,
        start_timeout: start_timeout.unwrap_or(default_start_timeout(kind)),
        // Which one holds by default depends on the reference's dtype: see `fill_gates`.
        parity: parity.unwrap_or(UNDECIDED),
    };
    check_kind(&backend, &sweep, object);
    check_wire(&backend, context.wire, object);
    let variants = sweep::variants(backend, &sweep, &object.field("sweep"));
    for variant in &variants {
        check_dtype(variant, context.dtype, object);
    }
    section.finish();
    variants
}

/// Marks a gate that nobody set; never leaves admission.
const UNDECIDED: ParityGate = ParityGate::MinCosine { min_cosine: -1.0 };

/// Gates that were not set follow the coarser of the two number formats compared.
pub(super) fn fill_gates(backends: &mut [Backend], model: Dtype, reference: Option<&str>) {
    let format = |backend: &Backend| coarseness(backend.dtype.unwrap_or(model));
    let named = reference.and_then(|reference| backends.iter().find(|backend| backend.name == reference));
    let reference = named.map_or(0, format);
    for backend in backends.iter_mut().filter(|backend| backend.parity == UNDECIDED) {
        backend.parity = match format(backend).max(reference) {
            0 => ParityGate::MinCosine { min_cosine: 0.9999 },
            1 => ParityGate::MinCosine { min_cosine: 0.999 },
            _ => ParityGate::Report,
        };
    }
}

fn coarseness(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::Float32 => 0,
        Dtype::Float16 | Dtype::Bfloat16 => 1,
        Dtype::Int8 => 2,
    }
}

fn default_start_timeout(kind: BackendKind) -> HumanDuration {
    match kind {
        // Loads weights, compiles, captures graphs.
        BackendKind::Vllm => HumanDuration::from_secs(900),
        BackendKind::Openai => HumanDuration::from_secs(60),
        BackendKind::Ort | BackendKind::Huggingface | BackendKind::Tei => HumanDuration::from_secs(300),
    }
}

/// Fields that mean nothing for this type are refused: they would be without effect.
fn check_kind(backend: &Backend, sweep: &Sweep, object: &mut Object<'_>) {
    let kind = backend.kind;
    let mut refuse = |field: &'static str, message: String| object.field(field).refuse(message);
    let python_server = matches!(kind, BackendKind::Vllm | BackendKind::Huggingface);
    let elsewhere = matches!(kind, BackendKind::Openai | BackendKind::Tei);
    if backend.url.is_some() && !elsewhere {
        refuse("url", format!("belongs to openai and tei; {kind} is started by the agent"));
    }
    if kind == BackendKind::Openai && backend.url.is_none() && backend.command.is_none() {
        refuse("url", format!("{kind} needs `url` (a server that runs already) or `command` (one to start)"));
    }
    for (field, key) in [("apiKeyFile", &backend.api_key_file), ("apiKeyEnv", &backend.api_key_env)] {
        if key.is_some() && !elsewhere {
            refuse(field, format!("belongs to openai and tei; {kind} needs no key"));
        }
    }
    if backend.api_key_file.is_some() && backend.api_key_env.is_some() {
        refuse("apiKeyEnv", "stands beside `apiKeyFile`; give one of the two".to_owned());
    }
    let ways = [("binary", &backend.binary), ("image", &backend.image)];
    for (field, _) in ways.into_iter().filter(|(_, way)| way.is_some()) {
        if kind != BackendKind::Tei {
            refuse(field, format!("belongs to tei; start {kind} in another way by `command`"));
        } else if backend.command.is_some() {
            refuse(field, "stands beside `command`; give one of the two".to_owned());
        }
    }
    if backend.binary.is_some() && backend.image.is_some() {
        refuse("image", "stands beside `binary`; give one of the two".to_owned());
    }
    if backend.python.is_some() && !python_server {
        refuse("python", format!("belongs to vllm and huggingface; {kind} runs no Python of ours"));
    }
    if backend.python.is_some() && backend.command.is_some() {
        refuse("python", "stands beside `command`; give one of the two".to_owned());
    }
    if backend.url.is_some() && elsewhere {
        let started = [
            ("command", backend.command.is_some()),
            ("binary", backend.binary.is_some()),
            ("image", backend.image.is_some()),
            ("args", !backend.args.is_empty()),
            ("env", !backend.env.is_empty()),
            ("batch", backend.batch.is_some()),
            ("sweep", !sweep.is_empty()),
        ];
        for (field, _) in started.into_iter().filter(|(_, set)| *set) {
            refuse(field, "has no effect on a server that runs already (`url`)".to_owned());
        }
    } else if backend.batch.is_some() && (!(python_server || kind == BackendKind::Tei) || backend.command.is_some()) {
        refuse(
            "batch",
            format!("has no effect on {kind}{}; use `args`", if backend.command.is_some() { " with `command`" } else { "" }),
        );
    }
}

/// The wire is the same for all backends of an experiment, and no proxy translates.
fn check_wire(backend: &Backend, wire: Wire, object: &mut Object<'_>) {
    let spoken = match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => true,
        Wire::Embed => matches!(backend.kind, BackendKind::Ort | BackendKind::Huggingface),
        Wire::Tei => backend.kind == BackendKind::Tei,
    };
    if !spoken {
        let (wire, known) = if wire == Wire::Tei { ("tei", "only tei does") } else { ("embed", "ort and huggingface do") };
        let message =
            format!("{} does not speak the wire `{wire}` of `spec.load.wire` ({known}); all speak openai-float", backend.kind);
        object.field("type").refuse(message);
    }
}

/// What no server of this type can compute in would fail on the node, hours later.
fn check_dtype(backend: &Backend, model: Dtype, object: &mut Object<'_>) {
    let dtype = backend.dtype.unwrap_or(model);
    if backend.command.is_some() || backend.url.is_some() {
        return;
    }
    let message = match (backend.kind, dtype) {
        (BackendKind::Ort, Dtype::Float16) if backend.device == Device::Cuda => return,
        (BackendKind::Ort, Dtype::Float16 | Dtype::Bfloat16 | Dtype::Int8) => {
            let only = "ort computes in float32, and on cuda in float16";
            format!("{only}, not in {} on this device; set `dtype: float32` on this backend", dtype.as_str())
        }
        (BackendKind::Vllm | BackendKind::Huggingface, Dtype::Int8) => {
            format!("{} cannot compute in int8; choose float32, float16 or bfloat16", backend.kind)
        }
        (BackendKind::Tei, Dtype::Bfloat16 | Dtype::Int8) => {
            format!("tei cannot compute in {}; choose float32 or float16", dtype.as_str())
        }
        _ => return,
    };
    object.field("dtype").refuse(message);
}

fn read_command(node: Node<'_>) -> Option<Vec<String>> {
    if !node.is_set() {
        return None;
    }
    if node.is_scalar() {
        node.refuse("expected a list of words, the program first (it is run without a shell)");
        return None;
    }
    let words = texts(node.clone(), |_| None);
    if words.is_empty() {
        node.refuse("names no program; its first item is one");
    }
    Some(words)
}

fn read_env_name(node: Node<'_>) -> Option<String> {
    node.parsed("the name of an environment variable", |text| match env_name_error(text) {
        None => Ok(text.to_owned()),
        Some(error) => Err(error),
    })
}

fn read_url(text: &str) -> Result<String, String> {
    let fail = |why: &str| Err(format!("`{}` {why}; write for example http://gpu07:8000", shorten(text)));
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("must not hold a user or password; use `apiKeyFile`".to_owned())
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        Ok(_) => fail("is not an address of http or https"),
        Err(_) => fail("is not a web address"),
    }
}

fn read_gate(node: Node<'_>) -> Option<ParityGate> {
    if !node.is_set() {
        return None;
    }
    if node.is_scalar() {
        return node.word("parity gate, nor {minCosine: …}", &[("report", ParityGate::Report)]);
    }
    let mut object = node.object();
    let min_cosine = object.field("minCosine").required().number(0.0..=1.0);
    object.finish();
    min_cosine.map(|min_cosine| ParityGate::MinCosine { min_cosine })
}
