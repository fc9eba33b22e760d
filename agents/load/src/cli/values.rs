//! Values of flags that have parts: `FROM:TO:TIME`, `N:SHARE`.

use anyhow::Context;
use em_api::HumanDuration;
use em_api::spec::TokenRange;

use crate::trace::Trace;
use crate::{BatchShare, LengthShare, Shape, Step};

pub(super) fn ramp(text: &str) -> Result<Shape, String> {
    let wrong = || format!("`{text}` is no ramp; write for example 50:400:60s");
    let [from, to, over] = parts(text).ok_or_else(wrong)?;
    let rate = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    Ok(Shape::Ramp { from: rate(from)?, to: rate(to)?, over: over.parse().map_err(|error| format!("{error}"))? })
}

pub(super) fn step(text: &str) -> Result<Step, String> {
    let wrong = || format!("`{text}` is no step; write for example 100:30s");
    let [rate, length] = parts(text).ok_or_else(wrong)?;
    let length: HumanDuration = length.parse().map_err(|error| format!("{error}"))?;
    Ok(Step { rate: rate.parse().map_err(|_| wrong())?, length })
}

pub(super) fn batch_share(text: &str) -> Result<BatchShare, String> {
    share(text).map(|(texts, share)| BatchShare { texts, share })
}

pub(super) fn length_share(text: &str) -> Result<LengthShare, String> {
    share(text).map(|(words, share)| LengthShare { words, share })
}

fn share(text: &str) -> Result<(u32, f64), String> {
    let wrong = || format!("`{text}` is no number with its share; write for example 16:0.3");
    let [value, share] = parts(text).ok_or_else(wrong)?;
    Ok((value.parse().map_err(|_| wrong())?, share.parse().map_err(|_| wrong())?))
}

pub(super) fn range(text: &str) -> Result<TokenRange, String> {
    let wrong = || format!("`{text}` is no range; write for example 10:100");
    let [min, max] = parts(text).ok_or_else(wrong)?;
    Ok(TokenRange { min: min.parse().map_err(|_| wrong())?, max: max.parse().map_err(|_| wrong())? })
}

fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(':').map(str::trim).collect::<Vec<_>>().try_into().ok()
}

/// The one rate that names a load whose rate changes: its end, its highest step, or a trace's mean.
pub(super) fn nominal_rate(shape: &Shape) -> anyhow::Result<f64> {
    Ok(match shape {
        Shape::Ramp { to, .. } => *to,
        Shape::Steps(steps) => steps.iter().map(|step| step.rate).fold(0.0, f64::max),
        Shape::Trace { path, .. } => {
            let rate = Trace::load(path).context("--trace")?.mean_rate();
            (rate * 1_000.0).round() / 1_000.0
        }
    })
}
