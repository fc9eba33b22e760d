//! What the services used: GPU utilisation and memory; on a node without a GPU the CPU cores and memory of their processes, and
//! the title says so.

use em_api::measurement::Resource;
use em_api::results::Cell;

use super::bars::{Bar, Scale, grouped};
use super::scene::Scene;
use super::sheet::{Sheet, note, side_by_side};

const GIB: f64 = 1_073_741_824.0;

pub(crate) fn draw(sheet: &Sheet<'_>) -> Scene {
    let gpu = sheet.results.cells.iter().any(|cell| cell.resources.resource == Resource::Gpu);
    let title = if gpu { "GPU use by batch size" } else { "CPU and memory use by batch size (no GPU)" };
    let meaning = if gpu {
        "inside the measured windows; mean utilisation, peak memory"
    } else {
        "of the service's processes, inside the measured windows"
    };
    let (mut scene, area) = sheet.begin(title, meaning);
    let bar = |value: Option<f64>| Bar { value, low: None, high: None };
    type Column = (&'static str, Scale, fn(&Cell) -> Option<f64>);
    let columns: [Column; 2] = if gpu {
        [
            ("GPU utilisation (percent of samples with a kernel running)", Scale::Percent, |cell| {
                cell.resources.gpu_utilization.map(|ratio| ratio * 100.0)
            }),
            ("GPU memory, peak (GiB)", Scale::Values, |cell| cell.resources.gpu_memory_peak_bytes.map(|bytes| bytes / GIB)),
        ]
    } else {
        [
            ("CPU, mean (cores)", Scale::Values, |cell| cell.resources.cpu_cores),
            ("Memory, peak (GiB)", Scale::Values, |cell| cell.resources.memory_peak_bytes.map(|bytes| bytes / GIB)),
        ]
    };
    if !sheet.results.cells.iter().any(|cell| columns.iter().any(|(_, _, of)| of(cell).is_some())) {
        sheet.nothing(&mut scene, &area, "No valid trial has handed in samples yet");
        return scene;
    }
    for (panel, (name, scale, of)) in side_by_side(&area, 2).iter().zip(&columns) {
        grouped(&mut scene, panel, sheet, name, *scale, &|cell| bar(of(cell)));
    }
    if sheet.results.cells.iter().any(|cell| columns.iter().any(|(_, _, of)| of(cell).is_none())) {
        note(&mut scene, "— : no samples of a valid trial");
    }
    scene
}
