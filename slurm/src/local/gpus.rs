//! Which GPUs the local transport may hand out, as a person writes them.

use std::str::FromStr;

/// `2` (the first two), `0,2` or `0-3` (indices in the order of `nvidia-smi`), `GPU-5d3c…,GPU-91f0…` (UUIDs); with a model before
/// it, `l40s:2`, jobs may ask for that type. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalGpus {
    /// Type that `gres: gpu:TYPE:COUNT` may name.
    pub model: Option<String>,
    /// What `CUDA_VISIBLE_DEVICES` is made of.
    pub devices: Vec<String>,
}

/// More than any machine has; a typo should not make a list of a million.
const MOST: u32 = 1024;

impl FromStr for LocalGpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` names no GPUs: {why}; write 2, 0,1, 0-3, l40s:2 or UUIDs (`nvidia-smi -L`)");
        let (model, list) = text.split_once(':').map_or((None, text), |(model, list)| (Some(model), list));
        let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if model.is_some_and(|model| !plain(model)) {
            return Err(wrong("the type before `:` is empty or has odd characters"));
        }
        let model = model.map(str::to_owned);
        if let Ok(count) = list.trim().parse::<u32>() {
            if count > MOST {
                return Err(wrong("that many are not in one machine"));
            }
            return Ok(Self { model, devices: (0..count).map(|index| index.to_string()).collect() });
        }
        let mut devices: Vec<String> = Vec::new();
        for entry in list.split(',').map(str::trim) {
            match range(entry) {
                Some((first, last)) if first > last || last > MOST => return Err(wrong("the range is not one")),
                Some((first, last)) => devices.extend((first..=last).map(|index| index.to_string())),
                None if entry.parse::<u32>().is_ok() || ["GPU-", "MIG-"].iter().any(|prefix| entry.starts_with(prefix)) => {
                    devices.push(entry.to_owned());
                }
                None => return Err(wrong(&format!("`{entry}` is no count, index or UUID"))),
            }
        }
        if !devices.iter().all(|device| plain(device)) {
            return Err(wrong("odd characters"));
        }
        let mut once = devices.clone();
        once.sort();
        once.dedup();
        if once.len() < devices.len() {
            return Err(wrong("one is named twice"));
        }
        Ok(Self { model, devices })
    }
}

fn range(entry: &str) -> Option<(u32, u32)> {
    let (first, last) = entry.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_a_list_a_range_and_uuids_are_told_apart() {
        let devices = |text: &str| text.parse::<LocalGpus>().expect(text).devices.join(" ");
        assert_eq!(devices("2"), "0 1");
        assert_eq!(devices("0"), "");
        assert_eq!(devices("1,3"), "1 3");
        assert_eq!(devices("2-3"), "2 3");
        assert_eq!(devices("3-3"), "3");
        assert_eq!(devices("GPU-5d3c-1"), "GPU-5d3c-1");
        let typed: LocalGpus = "l40s:2".parse().expect("a type and a count");
        assert_eq!((typed.model.as_deref(), typed.devices.len()), (Some("l40s"), 2));
    }

    #[test]
    fn what_names_no_gpus_is_refused_with_what_to_write() {
        for text in ["", "two", "0,0", "0-1,1", "3-1", ":2", "a b:2", "0,", "5000", "0-5000", "GPU-1,$(id)"] {
            let error = text.parse::<LocalGpus>().expect_err(text);
            assert!(error.contains("write 2, 0,1"), "{error}");
        }
    }
}
