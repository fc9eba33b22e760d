//! `spec.matrix` and `spec.load`: how much of what is sent, for how long, how often.

use em_api::HumanDuration;
use em_api::spec::{Arrival, FindMax, Load, LoadLevel, Matrix, Placement, Ramp, ServiceScope, TokenRange, Wire};

use super::reader::Node;

const LARGEST_BATCH: u64 = 8_192;
const MOST_CONCURRENT: u64 = 10_000;
const MOST_REPETITIONS: u64 = 100;
const MOST_LEVELS: usize = 64;

const WIRES: [(&str, Wire); 4] =
    [("openai-float", Wire::OpenaiFloat), ("openai-base64", Wire::OpenaiBase64), ("embed", Wire::Embed), ("tei", Wire::Tei)];

pub(super) fn read_matrix(node: Node<'_>) -> Matrix {
    let mut object = node.object();
    let batch_sizes = levels(&object.field("batchSizes"), |item| item.whole(1..=LARGEST_BATCH).map(|size| size as u32));
    let axes = [object.field("concurrency"), object.field("requestRate"), object.field("textRate"), object.field("findMax")];
    object.finish();
    let chosen: Vec<&Node<'_>> = axes.iter().filter(|axis| axis.is_set()).collect();
    if let [_, others @ ..] = chosen.as_slice() {
        for other in others {
            other.refuse(format!(
                "stands beside `{}`; set exactly one of concurrency, requestRate, textRate and findMax",
                last(chosen[0].path())
            ));
        }
    }
    let [concurrency, request_rate, text_rate, find_max] = &axes;
    let closed = levels(concurrency, |item| item.whole(1..=MOST_CONCURRENT).map(|users| users as u32));
    Matrix {
        batch_sizes: batch_sizes.unwrap_or_else(|| vec![32]),
        concurrency: closed.or_else(|| chosen.is_empty().then(|| vec![10])),
        request_rate: levels(request_rate, |item| item.number(0.001..=1e6)),
        text_rate: levels(text_rate, |item| item.number(0.001..=1e8)),
        find_max: read_find_max(find_max),
    }
}

fn read_find_max(node: &Node<'_>) -> Option<FindMax> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.clone().object();
    let p99_ms = object.field("p99Ms").required().number(0.001..=3.6e6);
    let probe = object.field("probe").duration(1.0..=3_600.0).unwrap_or(HumanDuration::from_secs(30));
    object.finish();
    p99_ms.map(|p99_ms| FindMax { p99_ms, probe })
}

/// `matrix`: what a ramp ends at and a trace is stretched to.
pub(super) fn read_load(node: Node<'_>, matrix: &Matrix) -> Load {
    let mut object = node.object();
    let arrivals = [("constant", Arrival::Constant), ("poisson", Arrival::Poisson)];
    let services = [("perRepetition", ServiceScope::PerRepetition), ("perTrial", ServiceScope::PerTrial)];
    let placements = [("sameNode", Placement::SameNode), ("separateNode", Placement::SeparateNode)];
    let placement = object.field("placement");
    if placement.word("placement", &placements) == Some(Placement::SeparateNode) {
        placement.not_yet("the load runs on the service's node, on cores of its own (`sameNode`)");
    }
    let (ramp_node, trace_node) = (object.field("ramp"), object.field("trace"));
    let ramp = read_ramp(&ramp_node, matrix);
    let trace = read_trace(&trace_node, matrix);
    if ramp_node.is_set() && trace_node.is_set() {
        trace_node.refuse("stands beside `ramp`; a trace has a rate of its own");
    }
    let seconds = HumanDuration::from_secs;
    let load = Load {
        duration: object.field("duration").duration(1.0..=86_400.0).unwrap_or(seconds(120)),
        warmup: object.field("warmup").duration(0.0..=3_600.0).unwrap_or(seconds(20)),
        repetitions: object.field("repetitions").whole(1..=MOST_REPETITIONS).unwrap_or(5) as u32,
        arrival: object.field("arrival").word("arrival", &arrivals).unwrap_or(Arrival::Constant),
        ramp,
        trace,
        text_tokens: read_tokens(object.field("textTokens")),
        wire: object.field("wire").word("wire", &WIRES).unwrap_or(Wire::OpenaiFloat),
        timeout: object.field("timeout").duration(0.1..=3_600.0).unwrap_or(seconds(30)),
        min_requests: object.field("minRequests").count(0..=100_000_000).unwrap_or(700),
        service: object.field("service").word("service scope", &services).unwrap_or(ServiceScope::PerRepetition),
        placement: Placement::SameNode,
    };
    if let Some(ramp) = load.ramp
        && ramp.over > load.duration
    {
        ramp_node.refuse(format!("takes {}, longer than the window of {} (`load.duration`)", ramp.over, load.duration));
    }
    object.finish();
    load
}

/// The levels of an open loop; any other axis is refused on `node`.
fn open_levels(node: &Node<'_>, matrix: &Matrix) -> Option<Vec<f64>> {
    let levels = matrix.levels().into_iter().map(|level| match level {
        LoadLevel::RequestRate(rate) | LoadLevel::TextRate(rate) => Some(rate),
        LoadLevel::Concurrency(_) | LoadLevel::FindMax(_) => None,
    });
    let levels: Option<Vec<f64>> = levels.collect();
    if levels.is_none() {
        node.refuse("belongs to open loop: set `matrix.requestRate` or `matrix.textRate`");
    }
    levels
}

fn read_ramp(node: &Node<'_>, matrix: &Matrix) -> Option<Ramp> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.clone().object();
    let from = object.field("from").required().number(0.001..=1e8);
    let to_node = object.field("to");
    let to = to_node.number(0.001..=1e8);
    let over = object.field("over").required().duration(0.0..=86_400.0);
    object.finish();
    let levels = open_levels(node, matrix)?;
    let &[level] = levels.as_slice() else {
        node.refuse(format!("ends at the level of the matrix, which must be a single one; it has {}", levels.len()));
        return None;
    };
    if to.is_some_and(|to| to != level) {
        to_node.refuse(format!("is not the level of the matrix ({level}); leave it out, or set both alike"));
    }
    Some(Ramp { from: from?, to: level, over: over? })
}

/// The agent reads the file: here only its place can be judged.
fn read_trace(node: &Node<'_>, matrix: &Matrix) -> Option<String> {
    let path = node.text()?;
    open_levels(node, matrix)?;
    if !path.starts_with('/') {
        node.refuse("must be an absolute path, visible on the compute nodes");
        return None;
    }
    Some(path)
}

fn read_tokens(node: Node<'_>) -> Option<TokenRange> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.object();
    let min = object.field("min").whole(0..=1_000_000);
    let max = object.field("max").required().whole(1..=1_000_000);
    object.finish();
    let (min, max) = (min.unwrap_or(0) as u32, max? as u32);
    if min > max {
        node.refuse(format!("`min` ({min}) is above `max` ({max})"));
    }
    Some(TokenRange { min, max })
}

/// One axis of the matrix: some levels, each once. A single level may stand without brackets.
fn levels<T: PartialEq + Copy>(node: &Node<'_>, read: impl Fn(&Node<'_>) -> Option<T>) -> Option<Vec<T>> {
    let items = if node.is_scalar() { vec![node.clone()] } else { node.items()? };
    if items.is_empty() {
        node.refuse("is empty; give at least one level, or leave it out");
        return None;
    }
    if items.len() > MOST_LEVELS {
        node.refuse(format!("holds {} levels; at most {MOST_LEVELS} are allowed", items.len()));
    }
    let mut levels = Vec::new();
    for item in &items {
        match read(item) {
            Some(level) if levels.contains(&level) => item.refuse("stands twice in the list"),
            Some(level) => levels.push(level),
            None => {}
        }
    }
    // Nothing sound in it: its errors are recorded, and rules across fields shall see a matrix.
    if levels.is_empty() { None } else { Some(levels) }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
