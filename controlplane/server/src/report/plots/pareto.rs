//! Throughput against latency: what one costs in the other. The dashed line joins the cells that no other beats in both.

use super::axis::{self, Linear, Panel};
use super::bars::tail;
use super::scene::{Anchor, Paint, Scene, text_width};
use super::sheet::{Sheet, note};

struct Point {
    backend: usize,
    label: String,
    x: f64,
    y: f64,
}

pub(crate) fn draw(sheet: &Sheet<'_>) -> Scene {
    let (mut scene, area) =
        sheet.begin("Throughput against latency", "each mark is a cell with its batch size; right and down is better");
    let tail = tail(&sheet.results.cells);
    let mut points = Vec::new();
    for group in sheet.groups() {
        for (backend, cell) in group.cells.iter().enumerate() {
            let value = cell.and_then(|cell| Some((cell.texts_per_second?.mean, (tail.of)(cell).value?)));
            points.extend(value.map(|(x, y)| Point { backend, label: group.label(), x, y }));
        }
    }
    if points.is_empty() {
        sheet.nothing(&mut scene, &area, "No valid trial has been measured yet");
        return scene;
    }
    let x_axis = Linear::up_to(points.iter().map(|point| point.x).fold(0.0, f64::max), 0.08);
    let y_axis = Linear::up_to(points.iter().map(|point| point.y).fold(0.0, f64::max), 0.08);
    axis::vertical(&mut scene, &area, &y_axis, &format!("Latency, {} (milliseconds)", tail.name));
    let ticks: Vec<(f64, String)> = x_axis.ticks().into_iter().map(|(value, label)| (x_axis.place(value), label)).collect();
    axis::horizontal(&mut scene, &area, &ticks, "throughput (texts per second)");
    let at = |point: &Point| (area.left + x_axis.place(point.x) * area.width, area.bottom() - y_axis.place(point.y) * area.height);
    scene.dashed(frontier(&points).into_iter().map(at).collect(), Paint::Muted, 1.5);
    for backend in 0..sheet.backends().len() {
        let own: Vec<(f64, f64)> = points.iter().filter(|point| point.backend == backend).map(at).collect();
        scene.line(own.clone(), Paint::Series(backend), 1.2);
        own.into_iter().for_each(|at| scene.mark(at, 7.0, Paint::Series(backend)));
    }
    note(&mut scene, "dashed: the cells that no other beats in both; a cell without the percentile is left out");
    labels(&mut scene, &area, &points.iter().map(|point| (at(point), point.label.as_str())).collect::<Vec<_>>());
    scene
}

/// Points that no other beats in both directions, by throughput.
fn frontier(points: &[Point]) -> Vec<&Point> {
    let beaten =
        |one: &Point| points.iter().any(|other| other.x >= one.x && other.y <= one.y && (other.x > one.x || other.y < one.y));
    let mut best: Vec<&Point> = points.iter().filter(|point| !beaten(point)).collect();
    best.sort_by(|a, b| a.x.total_cmp(&b.x));
    best
}

/// Batch sizes beside their marks, on the first side where nothing stands yet.
fn labels(scene: &mut Scene, area: &Panel, marks: &[((f64, f64), &str)]) {
    const SIZE: f64 = 13.0;
    type Box = (f64, f64, f64, f64);
    let overlap = |a: &Box, b: &Box| a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3;
    let mut taken: Vec<Box> = marks.iter().map(|((x, y), _)| (x - 8.0, y - 8.0, x + 8.0, y + 8.0)).collect();
    for ((x, y), label) in marks {
        let width = text_width(label, SIZE, false);
        let sides = [(12.0, 4.5), (-12.0 - width, 4.5), (-width / 2.0, -14.0), (-width / 2.0, 24.0), (12.0, -10.0), (12.0, 20.0)];
        let place = sides.into_iter().map(|(dx, dy)| (x + dx, y + dy)).find(|(left, baseline)| {
            let text: Box = (*left, baseline - SIZE, left + width, baseline + 3.0);
            text.0 >= area.left && text.2 <= area.right() + 20.0 && !taken.iter().any(|other| overlap(&text, other))
        });
        if let Some((left, baseline)) = place {
            taken.push((left, baseline - SIZE, left + width, baseline + 3.0));
            scene.text((left, baseline), SIZE, Anchor::Start, Paint::Ink, *label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontier_holds_what_no_other_cell_beats() {
        let point = |x, y| Point { backend: 0, label: String::new(), x, y };
        let points = [point(100.0, 10.0), point(200.0, 20.0), point(150.0, 25.0), point(90.0, 10.0)];
        assert_eq!(frontier(&points).iter().map(|one| (one.x, one.y)).collect::<Vec<_>>(), [(100.0, 10.0), (200.0, 20.0)]);
    }
}
