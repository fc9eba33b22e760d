//! Grouped bars, one group a batch size and one bar a backend: throughput and latency.

use em_api::results::{Cell, Percentile};

use super::axis::{self, Linear, Panel};
use super::scene::{Anchor, Paint, Scene, text_width};
use super::sheet::{Group, Sheet, note, side_by_side};
use crate::results::words;

const LABEL_SIZE: f64 = 12.0;
/// Whiskers may make a panel so many times as high as its tallest bar.
const WHISKER_ROOM: f64 = 1.6;

/// A value with its whisker; nothing is drawn as a dash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bar {
    pub(crate) value: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

pub(crate) fn throughput(sheet: &Sheet<'_>) -> super::scene::Scene {
    let (mut scene, area) =
        sheet.begin("Throughput by batch size", "bars: mean of valid repetitions, whiskers: 95 % interval; more is better");
    let bar = |cell: &Cell| {
        let rate = cell.texts_per_second;
        Bar { value: rate.map(|rate| rate.mean), low: rate.and_then(|rate| rate.low), high: rate.and_then(|rate| rate.high) }
    };
    if !any(sheet, &bar) {
        sheet.nothing(&mut scene, &area, "No valid trial has been measured yet");
        return scene;
    }
    grouped(&mut scene, &area, sheet, "Throughput (texts per second)", Scale::Values, &bar);
    scene
}

pub(crate) fn latency(sheet: &Sheet<'_>) -> super::scene::Scene {
    let (mut scene, area) = sheet.begin(
        "Latency of a request by batch size",
        "repetitions merged, whiskers: upper bound with 99 % confidence; less is better",
    );
    let of = |percentile: &Percentile| Bar { value: percentile.value, low: percentile.value, high: percentile.upper_bound };
    let p50 = |cell: &Cell| of(&cell.latency_ms.p50);
    if !any(sheet, &p50) {
        sheet.nothing(&mut scene, &area, "No valid trial has been measured yet");
        return scene;
    }
    let panels = side_by_side(&area, 2);
    grouped(&mut scene, &panels[0], sheet, "Median, p50 (milliseconds)", Scale::Values, &p50);
    let tail = tail(&sheet.results.cells);
    let name = format!("Tail, {} (milliseconds)", tail.name);
    grouped(&mut scene, &panels[1], sheet, &name, Scale::Values, &|cell| of((tail.of)(cell)));
    match tail.name {
        "p99" if sheet.results.cells.iter().all(|cell| cell.repetitions > 0) => {}
        "p99" => note(&mut scene, "— : no valid trial"),
        name => note(
            &mut scene,
            &format!("{name} is shown because some cells have too few requests to carry a higher one; — : none at all"),
        ),
    }
    scene
}

/// A percentile by name.
pub(crate) struct Tail {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Cell) -> &Percentile,
}

/// The highest percentile that every cell with a valid trial carries, but the p90 at least.
pub(crate) fn tail(cells: &[Cell]) -> Tail {
    let choices = [
        Tail { name: "p99", of: |cell| &cell.latency_ms.p99 },
        Tail { name: "p95", of: |cell| &cell.latency_ms.p95 },
        Tail { name: "p90", of: |cell| &cell.latency_ms.p90 },
    ];
    let carried = |tail: &Tail| cells.iter().filter(|cell| cell.repetitions > 0).all(|cell| (tail.of)(cell).value.is_some());
    let place = choices.iter().position(carried).unwrap_or(choices.len() - 1);
    choices.into_iter().nth(place).expect("one of the three places")
}

fn any(sheet: &Sheet<'_>, bar: &dyn Fn(&Cell) -> Bar) -> bool {
    sheet.results.cells.iter().any(|cell| bar(cell).value.is_some())
}

/// Where a panel's value axis ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Values,
    Percent,
}

/// One panel of grouped bars with its axes.
pub(crate) fn grouped(scene: &mut Scene, panel: &Panel, sheet: &Sheet<'_>, name: &str, scale: Scale, bar: &dyn Fn(&Cell) -> Bar) {
    let groups = sheet.groups();
    let bars: Vec<Vec<Bar>> =
        groups.iter().map(|group| group.cells.iter().map(|cell| cell.map(bar).unwrap_or_default()).collect()).collect();
    let all = || bars.iter().flatten();
    let tallest = all().filter_map(|bar| bar.value).fold(0.0, f64::max);
    let whiskers = all().filter_map(|bar| bar.high.or(bar.value)).fold(0.0, f64::max);
    // Two repetitions give whiskers of many times the bars: those leave the plot rather than flatten it.
    let most = whiskers.min(tallest * WHISKER_ROOM);
    let axis = if scale == Scale::Percent { Linear::percent() } else { Linear::up_to(most, 0.06) };
    axis::vertical(scene, panel, &axis, name);
    let slot = panel.width / groups.len().max(1) as f64;
    let width = (slot * 0.8 / sheet.backends().len().max(1) as f64).min(110.0);
    let labelled =
        all().filter_map(|bar| bar.value).all(|value| text_width(&words::number(value), LABEL_SIZE, false) <= width - 2.0);
    for (place, bars) in bars.iter().enumerate() {
        let start = panel.left + (place as f64 + 0.5) * slot - width * bars.len() as f64 / 2.0;
        for (backend, bar) in bars.iter().enumerate() {
            draw(scene, panel, &axis, (start + backend as f64 * width, width), *bar, Paint::Series(backend), labelled);
        }
    }
    names(scene, panel, &groups, slot);
    scene.text((panel.left + panel.width / 2.0, panel.bottom() + 52.0), 14.0, Anchor::Middle, Paint::Muted, sheet.group_axis());
}

/// Batch sizes below the groups; with several load levels a row of those first, as many as fit.
fn names(scene: &mut Scene, panel: &Panel, groups: &[Group<'_>], slot: f64) {
    let middle = |place: f64| panel.left + (place + 0.5) * slot;
    let stride = |texts: &[String], slot: f64| {
        let widest = texts.iter().map(|text| text_width(text, LABEL_SIZE, false)).fold(0.0, f64::max);
        ((widest + 6.0) / slot).ceil().max(1.0) as usize
    };
    let levels: Vec<String> = groups.iter().filter_map(|group| group.level.clone()).collect();
    let every = stride(&levels, slot);
    for (place, level) in levels.iter().enumerate().step_by(every) {
        scene.text((middle(place as f64), panel.bottom() + 17.0), LABEL_SIZE, Anchor::Middle, Paint::Muted, level.clone());
    }
    let (size, y) = if levels.is_empty() { (14.0, 22.0) } else { (13.0, 33.0) };
    let mut place = 0;
    for same in groups.chunk_by(|one, next| one.batch_size == next.batch_size) {
        let centre = middle(place as f64 + (same.len() - 1) as f64 / 2.0);
        scene.text((centre, panel.bottom() + y), size, Anchor::Middle, Paint::Ink, same[0].batch_size.to_string());
        place += same.len();
    }
}

/// `across`: left edge and width of the bar's place.
fn draw(scene: &mut Scene, panel: &Panel, axis: &Linear, across: (f64, f64), bar: Bar, paint: Paint, labelled: bool) {
    let (left, width) = across;
    let middle = left + width / 2.0;
    let y = |value: f64| panel.bottom() - axis.place(value.min(axis.end)) * panel.height;
    let Some(value) = bar.value else {
        let half = (width * 0.3).min(8.0);
        scene.line(vec![(middle - half, panel.bottom() - 10.0), (middle + half, panel.bottom() - 10.0)], Paint::Muted, 1.5);
        return;
    };
    let inset = (width * 0.06).max(0.5);
    scene.rect((left + inset, y(value)), (width - 2.0 * inset, panel.bottom() - y(value)), paint, 1.0);
    let mut top = y(value);
    if let (Some(low), Some(high)) = (bar.low, bar.high) {
        let cap = (width * 0.16).clamp(1.0, 9.0);
        scene.line(vec![(middle, y(low)), (middle, y(high))], Paint::Ink, 1.5);
        if high <= axis.end {
            scene.line(vec![(middle - cap, y(high)), (middle + cap, y(high))], Paint::Ink, 1.5);
        } else {
            // An arrow: it goes on.
            scene.line(vec![(middle - cap, y(high) + cap), (middle, y(high)), (middle + cap, y(high) + cap)], Paint::Ink, 1.5);
        }
        if low < value {
            scene.line(vec![(middle - cap, y(low)), (middle + cap, y(low))], Paint::Ink, 1.5);
        }
        top = top.min(y(high));
    }
    if labelled {
        scene.text((middle, top - 6.0), LABEL_SIZE, Anchor::Middle, Paint::Ink, words::number(value));
    }
}
