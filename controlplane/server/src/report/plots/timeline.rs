//! Throughput second by second through all measured windows in the order of their execution, pauses between them left out: a
//! warm-up that was too short, a stall or a slow hour shows here first.

use em_api::measurement::{LoadReport, Measurement, Outcome};
use em_api::results::{TrialResult, Verdict};

use super::axis::{self, Linear};
use super::scene::{Anchor, Paint, Scene, text_width};
use super::sheet::{Sheet, note};

/// Narrower steps than this many pixels are averaged.
const STEP: f64 = 1.5;

struct Window<'a> {
    result: &'a TrialResult,
    load: &'a LoadReport,
    /// Texts per second in each whole second.
    rates: Vec<f64>,
}

pub(crate) fn draw(sheet: &Sheet<'_>) -> Scene {
    let (mut scene, area) = sheet.begin("Throughput second by second", "measured windows in order of execution, pauses left out");
    let windows = windows(sheet);
    let seconds: usize = windows.iter().map(|window| window.rates.len()).sum();
    if seconds == 0 {
        sheet.nothing(&mut scene, &area, "No trial has been measured yet");
        return scene;
    }
    let most = windows.iter().flat_map(|window| &window.rates).copied().fold(0.0, f64::max);
    let rate_axis = Linear::up_to(most, 0.12);
    axis::vertical(&mut scene, &area, &rate_axis, "Throughput (texts per second); above: batch size");
    let gap = (area.width * 0.15 / windows.len() as f64).min(8.0);
    let scale = (area.width - gap * (windows.len() - 1) as f64) / seconds as f64;
    let mut left = area.left;
    let mut flagged = false;
    for window in &windows {
        let width = window.rates.len() as f64 * scale;
        let paint = Paint::Series(sheet.backends().iter().position(|name| *name == window.result.backend).unwrap_or(0));
        if window.result.verdict != Verdict::Valid {
            flagged = true;
            scene.rect((left, area.top), (width, area.height), Paint::Muted, 0.18);
        }
        let group = (STEP / scale).ceil().max(1.0) as usize;
        let mut line = Vec::new();
        for (step, rates) in window.rates.chunks(group).enumerate() {
            let y = area.bottom() - rate_axis.place(rates.iter().sum::<f64>() / rates.len() as f64) * area.height;
            let from = left + (step * group) as f64 * scale;
            let to = from + rates.len() as f64 * scale;
            scene.rect((from, y), (to - from, area.bottom() - y), paint, 0.22);
            line.extend([(from, y), (to, y)]);
        }
        scene.line(line, paint, 1.8);
        let label = window.result.batch_size.to_string();
        if text_width(&label, 11.0, false) < width + gap - 3.0 {
            scene.text((left + width / 2.0, area.top + 12.0), 11.0, Anchor::Middle, Paint::Muted, label);
        }
        left += width + gap;
    }
    scene.text(
        (area.left + area.width / 2.0, area.bottom() + 30.0),
        14.0,
        Anchor::Middle,
        Paint::Ink,
        format!("{} measured windows, {seconds} seconds in all", windows.len()),
    );
    if flagged {
        note(&mut scene, "grey ground: the trial is invalid or inconclusive and not in the averages");
    }
    scene
}

fn windows<'a>(sheet: &Sheet<'a>) -> Vec<Window<'a>> {
    let mut windows: Vec<Window> = sheet
        .results
        .trials
        .iter()
        .filter_map(|result| {
            let load = load_of(result, &sheet.input.measurements)?;
            let mut rates = vec![0.0; (load.window_s.max(0.0) as usize).min(86_400)];
            for bin in &load.per_second {
                if let Some(rate) = rates.get_mut(bin.second as usize) {
                    *rate = bin.texts_ok as f64;
                }
            }
            Some(Window { result, load, rates })
        })
        .collect();
    windows.sort_by_key(|window| (window.load.window_started_at, window.result.trial));
    windows
}

fn load_of<'a>(result: &TrialResult, measurements: &'a [Measurement]) -> Option<&'a LoadReport> {
    let same = |one: &&Measurement| (one.trial, one.attempt, one.started_at) == (result.trial, result.attempt, result.started_at);
    match &measurements.iter().find(same)?.outcome {
        Outcome::Measured { load } => Some(load),
        _ => None,
    }
}
