//! `spec.matrix` and `spec.load`: how much of what is sent, for how long, how often.

use em_api::HumanDuration;
use em_api::spec::{Arrival, Load, Matrix, Placement, ServiceScope, TokenRange, Wire};

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
    let axes = [object.field("concurrency"), object.field("requestRate"), object.field("textRate")];
    object.field("findMax").not_yet("list the levels to try in `concurrency`, `requestRate` or `textRate`");
    object.finish();
    let chosen: Vec<&Node<'_>> = axes.iter().filter(|axis| axis.is_set()).collect();
    if let [_, others @ ..] = chosen.as_slice() {
        for other in others {
            other.refuse(format!(
                "stands beside `{}`; set exactly one of concurrency, requestRate and textRate",
                last(chosen[0].path())
            ));
        }
    }
    let [concurrency, request_rate, text_rate] = &axes;
    let closed = levels(concurrency, |item| item.whole(1..=MOST_CONCURRENT).map(|users| users as u32));
    Matrix {
        batch_sizes: batch_sizes.unwrap_or_else(|| vec![32]),
        concurrency: closed.or_else(|| chosen.is_empty().then(|| vec![10])),
        request_rate: levels(request_rate, |item| item.number(0.001..=1e6)),
        text_rate: levels(text_rate, |item| item.number(0.001..=1e8)),
    }
}

pub(super) fn read_load(node: Node<'_>) -> Load {
    let mut object = node.object();
    let arrivals = [("constant", Arrival::Constant), ("poisson", Arrival::Poisson)];
    let services = [("perRepetition", ServiceScope::PerRepetition), ("perTrial", ServiceScope::PerTrial)];
    let placements = [("sameNode", Placement::SameNode), ("separateNode", Placement::SeparateNode)];
    let placement = object.field("placement");
    if placement.word("placement", &placements) == Some(Placement::SeparateNode) {
        placement.not_yet("the load runs on the service's node, on cores of its own (`sameNode`)");
    }
    object.field("trace").not_yet("set levels in `matrix.requestRate` or `matrix.textRate`");
    object.field("ramp").not_yet("list the levels in `matrix.requestRate` or `matrix.textRate`");
    let seconds = HumanDuration::from_secs;
    let load = Load {
        duration: object.field("duration").duration(1.0..=86_400.0).unwrap_or(seconds(120)),
        warmup: object.field("warmup").duration(0.0..=3_600.0).unwrap_or(seconds(20)),
        repetitions: object.field("repetitions").whole(1..=MOST_REPETITIONS).unwrap_or(5) as u32,
        arrival: object.field("arrival").word("arrival", &arrivals).unwrap_or(Arrival::Constant),
        text_tokens: read_tokens(object.field("textTokens")),
        wire: object.field("wire").word("wire", &WIRES).unwrap_or(Wire::OpenaiFloat),
        timeout: object.field("timeout").duration(0.1..=3_600.0).unwrap_or(seconds(30)),
        min_requests: object.field("minRequests").count(0..=100_000_000).unwrap_or(700),
        service: object.field("service").word("service scope", &services).unwrap_or(ServiceScope::PerRepetition),
        placement: Placement::SameNode,
    };
    object.finish();
    load
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
