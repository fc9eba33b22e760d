//! Generic resources as nodes show them (`Gres=`, `GresUsed=`) and as jobs ask for them (`--gres`, `--gpus`).

use crate::cluster::Gres;

/// One kind and type with its count: `gpu:l40s:2`, `gpu:2`, `l40s:2` (where the kind is known), `gpu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GresCount {
    pub kind: String,
    pub model: Option<String>,
    pub count: u64,
}

/// Reads the value of sbatch's `--gres` (sbatch(1)): `gpu:l40s:1,shard:4`; without a count it is 1. Parts that are no such thing are
/// left out: sbatch has the last word on them.
pub fn parse_gres(text: &str) -> Vec<GresCount> {
    items(text)
        .into_iter()
        .filter_map(|item| {
            item.strip_prefix("gres/")
                .unwrap_or(item)
                .split_once('=')
                .map_or_else(|| counted(item), |(kind, count)| counted(&format!("{kind}:{count}")))
        })
        .collect()
}

/// Reads the value of `--gpus` and `--gpus-per-node`: `2`, `l40s:2`, `l40s:1,a100:1`.
pub fn parse_gpus(text: &str) -> Vec<GresCount> {
    items(text).into_iter().filter_map(|item| counted(&format!("gpu:{item}"))).collect()
}

/// What a node has, with what of it is in use. `configured` as in `Gres=gpu:l40s:2(S:0-1),shard:8`, `used` as in
/// `GresUsed=gpu:l40s:1(IDX:0)` (scontrol(1), `show node -d`).
pub(crate) fn of_node(configured: &str, used: &str) -> Vec<Gres> {
    let used: Vec<GresCount> = items(used).into_iter().filter_map(counted).collect();
    let mut all: Vec<Gres> = Vec::new();
    for GresCount { kind, model, count } in items(configured).into_iter().filter_map(counted) {
        match all.iter_mut().find(|gres| gres.kind == kind && gres.model == model) {
            // One type may stand there several times, for several sockets.
            Some(same) => same.count += count,
            None => all.push(Gres { kind, model, count, used: 0 }),
        }
    }
    for gres in &mut all {
        gres.used = used.iter().filter(|used| used.kind == gres.kind && used.model == gres.model).map(|used| used.count).sum();
    }
    all
}

/// Parts between commas outside of parentheses (`shard:2(0/4,2/4)`).
fn items(text: &str) -> Vec<&str> {
    let (mut items, mut begin, mut depth) = (Vec::new(), 0, 0u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[begin..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty() && *item != "(null)" && *item != "N/A").collect()
}

/// `kind[:model][:no_consume][:count][(where)]`.
fn counted(item: &str) -> Option<GresCount> {
    // `(null)` stands for "no type" in what older versions show as used.
    let item = item.replace(":(null)", "");
    let item = item.split('(').next().unwrap_or_default();
    let mut words: Vec<&str> = item.split(':').map(str::trim).filter(|word| *word != "no_consume").collect();
    let count = words.last().and_then(|last| number(last));
    if count.is_some() {
        words.pop();
    }
    let plain =
        |word: &&str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    match &words[..] {
        [kind] if plain(kind) => Some(GresCount { kind: (*kind).to_owned(), model: None, count: count.unwrap_or(1) }),
        [kind, model] if plain(kind) && plain(model) => {
            Some(GresCount { kind: (*kind).to_owned(), model: Some((*model).to_owned()), count: count.unwrap_or(1) })
        }
        _ => None,
    }
}

/// `2`, `4K`: suffixes are powers of 1024.
fn number(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..].to_ascii_uppercase()[..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1_u64 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(all: &[Gres]) -> Vec<String> {
        let model = |gres: &Gres| gres.model.as_ref().map(|model| format!(":{model}")).unwrap_or_default();
        all.iter().map(|gres| format!("{}{} {}/{}", gres.kind, model(gres), gres.used, gres.count)).collect()
    }

    #[test]
    fn a_node_shows_what_it_has_and_what_is_used() {
        for (configured, used, expected) in [
            ("gpu:l40s:2", "gpu:l40s:1(IDX:0)", vec!["gpu:l40s 1/2"]),
            ("gpu:2(S:0-1)", "gpu:2(IDX:0-1)", vec!["gpu 2/2"]),
            ("gpu:2", "gpu:(null):1(IDX:0)", vec!["gpu 1/2"]),
            (
                "gpu:a100:2(S:0),gpu:a100:2(S:1),gpu:l40s:1",
                "gpu:a100:3(IDX:0-2),gpu:l40s:0(IDX:N/A)",
                vec!["gpu:a100 3/4", "gpu:l40s 0/1"],
            ),
            ("gpu:1,shard:8", "gpu:0(IDX:N/A),shard:5(1/4,4/4)", vec!["gpu 0/1", "shard 5/8"]),
            ("bandwidth:lustre:no_consume:4G", "bandwidth:lustre:0", vec!["bandwidth:lustre 0/4294967296"]),
            ("(null)", "N/A", vec![]),
            ("", "", vec![]),
        ] {
            assert_eq!(shown(&of_node(configured, used)), expected, "{configured}");
        }
    }

    #[test]
    fn requests_are_read_as_sbatch_reads_them() {
        let shown = |all: Vec<GresCount>| -> Vec<String> {
            all.into_iter().map(|one| format!("{}/{}/{}", one.kind, one.model.unwrap_or_default(), one.count)).collect()
        };
        for (text, expected) in [
            ("gpu", vec!["gpu//1"]),
            ("gpu:2", vec!["gpu//2"]),
            ("gpu:l40s", vec!["gpu/l40s/1"]),
            ("gpu:l40s:2,shard:4", vec!["gpu/l40s/2", "shard//4"]),
            ("gres/gpu:l40s=2", vec!["gpu/l40s/2"]),
            ("none; rm -rf", vec![]),
        ] {
            assert_eq!(shown(parse_gres(text)), expected, "{text}");
        }
        assert_eq!(shown(parse_gpus("l40s:1,a100:2")), ["gpu/l40s/1", "gpu/a100/2"]);
        assert_eq!(shown(parse_gpus("3")), ["gpu//3"]);
    }
}
