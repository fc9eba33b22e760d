//! What all plots share: title, a line that says what was measured and what the whiskers mean, legend, footer.

use em_api::results::{Cell, Results};

use super::axis::Panel;
use super::scene::{Anchor, HEIGHT, Paint, Scene, WIDTH, fitted, text_width};
use crate::results::{ResultsInput, load_levels};

const MARGIN: f64 = 40.0;
/// Left of a panel there must be room for tick labels.
pub(crate) const TICKS: f64 = 58.0;
const LEGEND_SIZE: f64 = 14.0;

pub(crate) struct Sheet<'a> {
    pub(crate) input: &'a ResultsInput,
    pub(crate) results: &'a Results,
}

/// One point of the matrix.
pub(crate) struct Group<'a> {
    pub(crate) batch_size: u32,
    /// `c10`, where the matrix has several load levels.
    pub(crate) level: Option<String>,
    /// By the backend's place; `None` where the matrix has no such cell.
    pub(crate) cells: Vec<Option<&'a Cell>>,
}

impl Group<'_> {
    /// `32`, `32 · c10`.
    pub(crate) fn label(&self) -> String {
        self.level.as_ref().map_or_else(|| self.batch_size.to_string(), |level| format!("{} · {level}", self.batch_size))
    }
}

impl<'a> Sheet<'a> {
    /// Variants in the order of the spec: the place decides the colour, in every plot alike.
    pub(crate) fn backends(&self) -> Vec<&'a str> {
        self.input.experiment.spec.backends.iter().map(|backend| backend.name.as_str()).collect()
    }

    /// Each point of the matrix with the cells of all backends there.
    pub(crate) fn groups(&self) -> Vec<Group<'a>> {
        let matrix = &self.input.experiment.spec.matrix;
        let levels = load_levels(matrix);
        let mut groups = Vec::new();
        for batch_size in &matrix.batch_sizes {
            for load in &levels {
                let find = |name: &&str| {
                    self.results
                        .cells
                        .iter()
                        .find(|cell| cell.backend == **name && cell.batch_size == *batch_size && cell.load == *load)
                };
                let level = (levels.len() > 1).then(|| load.file_tag());
                groups.push(Group { batch_size: *batch_size, level, cells: self.backends().iter().map(find).collect() });
            }
        }
        groups
    }

    /// The name of the axis that `groups` are on.
    pub(crate) fn group_axis(&self) -> &'static str {
        if load_levels(&self.input.experiment.spec.matrix).len() > 1 {
            "batch size (texts per request), load level above it"
        } else {
            "batch size (texts per request)"
        }
    }

    /// Title, subtitle, legend and footer; answers the area left for panels.
    pub(crate) fn begin(&self, title: &str, meaning: &str) -> (Scene, Panel) {
        let spec = &self.input.experiment.spec;
        let mut scene = Scene::new(title);
        scene.bold((MARGIN, 46.0), 24.0, Anchor::Start, Paint::Ink, title);
        let load = match &load_levels(&spec.matrix)[..] {
            [only] => format!(" · {only}"),
            _ => String::new(),
        };
        let subtitle = format!("{}{load} · {meaning}", spec.model.id);
        scene.text((MARGIN, 72.0), 14.0, Anchor::Start, Paint::Muted, fitted(&subtitle, 14.0, WIDTH - 2.0 * MARGIN));
        let legend_end = self.legend(&mut scene, 102.0);
        let sha: String = self.results.measurements_sha256.chars().take(12).collect();
        let footer =
            format!("{} · Embedding Meter {} · measurements {sha}", self.input.experiment.metadata.name, self.results.code_version);
        scene.text((WIDTH - MARGIN, HEIGHT - 14.0), 11.0, Anchor::End, Paint::Muted, footer);
        let top = legend_end + 54.0;
        (scene, Panel { left: MARGIN + TICKS, top, width: WIDTH - 2.0 * MARGIN - TICKS, height: HEIGHT - 92.0 - top })
    }

    /// Rows of marks and names; answers where the last one ends.
    fn legend(&self, scene: &mut Scene, top: f64) -> f64 {
        let (mut x, mut y) = (MARGIN, top);
        for (place, name) in self.backends().iter().enumerate() {
            let name = fitted(name, LEGEND_SIZE, 420.0);
            let width = 22.0 + text_width(&name, LEGEND_SIZE, false) + 28.0;
            if x > MARGIN && x + width > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + 24.0);
            }
            scene.mark((x + 7.0, y - 5.0), 6.5, Paint::Series(place));
            scene.text((x + 22.0, y), LEGEND_SIZE, Anchor::Start, Paint::Ink, name);
            x += width;
        }
        y
    }

    /// Instead of panels, when there is nothing to draw.
    pub(crate) fn nothing(&self, scene: &mut Scene, area: &Panel, why: &str) {
        let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0);
        scene.text(middle, 18.0, Anchor::Middle, Paint::Muted, why);
    }
}

/// A line under the panels: what a sign in the plot means.
pub(crate) fn note(scene: &mut Scene, text: &str) {
    scene.text((MARGIN, HEIGHT - 14.0), 11.0, Anchor::Start, Paint::Muted, fitted(text, 11.0, WIDTH * 0.58));
}

/// The area cut into equal panels side by side, each with room for its ticks.
pub(crate) fn side_by_side(area: &Panel, count: usize) -> Vec<Panel> {
    let count = count.max(1) as f64;
    let gap = 18.0 + TICKS;
    let width = (area.width - gap * (count - 1.0)) / count;
    (0..count as usize).map(|place| Panel { left: area.left + place as f64 * (width + gap), width, ..*area }).collect()
}
