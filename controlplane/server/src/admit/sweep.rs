//! `sweep`: one entry of `backends` stands for several variants, one for each combination of the values listed. `batch`,
//! `dtype` and `device` set the field of that name; any other key is an option of the server's command line.

use em_api::spec::{Backend, Device, Dtype};

use super::backends::{DEVICES, LARGEST_SERVER_BATCH, MOST_VARIANTS};
use super::metadata::read_label;
use super::model::DTYPES;
use super::reader::Node;

/// Keys with their values, in the order of the names' parts.
pub(super) type Sweep = Vec<(String, Vec<Setting>)>;

/// One value of one key: what it does, and how it reads in a name.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    effect: Effect,
    shown: String,
}

#[derive(Clone, Debug)]
enum Effect {
    Batch(u32),
    Dtype(Dtype),
    Device(Device),
    /// The value of `--key`.
    Option(String),
}

pub(super) fn read(node: Node<'_>) -> Sweep {
    let mut sweep = Vec::new();
    for (key, values) in node.entries().unwrap_or_default() {
        if read_label(&key).is_err() {
            values.refuse("a key is an option without its dashes, such as api-server-count, or batch, dtype, device");
            continue;
        }
        let Some(items) = values.items() else { continue };
        if items.is_empty() {
            values.refuse("is empty; list the values to try");
        }
        let settings: Vec<Setting> = items.iter().filter_map(|item| read_setting(&key, item)).collect();
        if settings.len() == items.len() && !settings.is_empty() {
            sweep.push((key, settings));
        }
    }
    sweep
}

fn read_setting(key: &str, item: &Node<'_>) -> Option<Setting> {
    let setting = |effect, shown: &str| Some(Setting { effect, shown: shown.to_owned() });
    match key {
        "batch" => item.whole(1..=LARGEST_SERVER_BATCH).and_then(|batch| setting(Effect::Batch(batch as u32), &batch.to_string())),
        "dtype" => item.word("dtype", &DTYPES).and_then(|dtype| setting(Effect::Dtype(dtype), dtype.as_str())),
        "device" => item
            .word("device", &DEVICES)
            .and_then(|device| setting(Effect::Device(device), if device == Device::Cuda { "cuda" } else { "cpu" })),
        _ => {
            let text = item.parsed_or_number("a number or text", |text| Ok(text.to_owned()))?;
            setting(Effect::Option(text.clone()), &text)
        }
    }
}

/// `{name}` alone without a sweep, else `{name}-{key}-{value}…` for each combination. A name that is too long or that two
/// values share is refused at `node`.
pub(super) fn variants(backend: Backend, sweep: &Sweep, node: &Node<'_>) -> Vec<Backend> {
    let total = sweep.iter().fold(1_usize, |total, (_, settings)| total.saturating_mul(settings.len()));
    if total > MOST_VARIANTS {
        node.refuse(format!("makes {total} variants; at most {MOST_VARIANTS} are allowed"));
        return Vec::new();
    }
    let mut variants = vec![backend];
    for (key, settings) in sweep {
        variants = variants.iter().flat_map(|variant| settings.iter().map(|setting| apply(variant, key, setting))).collect();
    }
    if let Some(long) = variants.iter().find(|variant| read_label(&variant.name).is_err()) {
        node.refuse(format!("makes the name `{}`, which is not one; shorten the backend's name or the values", long.name));
        return Vec::new();
    }
    variants
}

fn apply(backend: &Backend, key: &str, setting: &Setting) -> Backend {
    let mut variant = backend.clone();
    let shown: String = setting
        .shown
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    variant.name = format!("{}-{key}-{}", backend.name, shown.trim_matches('-'));
    match &setting.effect {
        Effect::Batch(batch) => variant.batch = Some(*batch),
        Effect::Dtype(dtype) => variant.dtype = Some(*dtype),
        Effect::Device(device) => variant.device = *device,
        Effect::Option(value) => variant.args.extend([format!("--{key}"), value.clone()]),
    }
    variant
}
