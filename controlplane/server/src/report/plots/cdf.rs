//! The whole distribution of latencies: the share of requests that were answered within a time, one panel a batch size.

use super::axis::{self, Logarithmic, Panel};
use super::scene::{Anchor, Paint, Scene};
use super::sheet::{Sheet, TICKS, note};

const COLUMNS: usize = 3;
const MOST_PANELS: usize = 6;

pub(crate) fn draw(sheet: &Sheet<'_>) -> Scene {
    let (mut scene, area) =
        sheet.begin("Latency distribution", "share of requests answered within a time, repetitions merged; further left is better");
    let groups = sheet.groups();
    let values =
        groups.iter().flat_map(|group| group.cells.iter().flatten()).flat_map(|cell| cell.latency_ms.cdf.iter().map(|(ms, _)| *ms));
    let Some(times) = Logarithmic::around(values) else {
        sheet.nothing(&mut scene, &area, "No valid trial has been measured yet");
        return scene;
    };
    if groups.len() > MOST_PANELS {
        note(&mut scene, &format!("{MOST_PANELS} of {} points of the matrix are drawn", groups.len()));
    }
    let shown = groups.len().min(MOST_PANELS);
    let (columns, rows) = (shown.min(COLUMNS), shown.div_ceil(COLUMNS));
    for (place, group) in groups.iter().take(MOST_PANELS).enumerate() {
        let panel = tile(&area, (columns, rows), (place % COLUMNS, place / COLUMNS));
        scene.bold((panel.left, panel.top - 20.0), 14.0, Anchor::Start, Paint::Ink, format!("Batch size {}", group.label()));
        for percent in [0, 25, 50, 75, 100] {
            let y = panel.bottom() - f64::from(percent) / 100.0 * panel.height;
            scene.line(vec![(panel.left, y), (panel.right(), y)], Paint::Grid, 1.0);
            scene.text((panel.left - 8.0, y + 4.5), 13.0, Anchor::End, Paint::Muted, format!("{percent} %"));
        }
        let ticks: Vec<(f64, String)> =
            spread(times.ticks().into_iter().map(|(value, label)| (times.place(value), label)), panel.width);
        axis::horizontal(&mut scene, &panel, &ticks, "latency (milliseconds, logarithmic)");
        for (backend, cell) in group.cells.iter().enumerate() {
            let points = cell.iter().flat_map(|cell| &cell.latency_ms.cdf);
            let points: Vec<(f64, f64)> = points
                .map(|(ms, fraction)| (panel.left + times.place(*ms) * panel.width, panel.bottom() - fraction * panel.height))
                .collect();
            if points.is_empty() {
                continue;
            }
            let marks: Vec<(f64, f64)> = (1..=3).map(|quarter| points[(points.len() * quarter / 4).saturating_sub(1)]).collect();
            scene.line(points, Paint::Series(backend), 2.2);
            marks.into_iter().for_each(|at| scene.mark(at, 4.0, Paint::Series(backend)));
        }
    }
    scene
}

fn tile(area: &Panel, grid: (usize, usize), place: (usize, usize)) -> Panel {
    let (columns, rows) = (grid.0 as f64, grid.1 as f64);
    let (beside, between) = (18.0 + TICKS, 96.0);
    let width = (area.width - beside * (columns - 1.0)) / columns;
    let height = (area.height - between * (rows - 1.0)) / rows;
    Panel {
        left: area.left + place.0 as f64 * (width + beside),
        top: area.top + place.1 as f64 * (height + between),
        width,
        height,
    }
}

/// Ticks that stand at least 44 pixels apart.
fn spread(ticks: impl Iterator<Item = (f64, String)>, width: f64) -> Vec<(f64, String)> {
    let mut kept: Vec<(f64, String)> = Vec::new();
    for (place, label) in ticks {
        if kept.last().is_none_or(|(last, _)| (place - last) * width >= 44.0) {
            kept.push((place, label));
        }
    }
    kept
}
