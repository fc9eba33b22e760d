//! Value axes: round ticks from zero (or decades), and the frame of a panel with its grid.

use super::scene::{Anchor, Paint, Scene};
use crate::results::words;

/// Where a panel's data area lies on the sheet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Panel {
    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// A linear axis from 0 to a round number above `most`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) end: f64,
    step: f64,
}

impl Linear {
    /// `room`: share of the axis left free above the largest value, for labels.
    pub(crate) fn up_to(most: f64, room: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most * (1.0 + room) } else { 1.0 };
        let rough = most / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * decade)
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(decade);
        Self { end: (most / step).ceil() * step, step }
    }

    /// Percent, to 100.
    pub(crate) fn percent() -> Self {
        Self { end: 100.0, step: 25.0 }
    }

    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let count = (self.end / self.step).round() as usize;
        (0..=count).map(|tick| tick as f64 * self.step).map(|value| (value, tick_label(value, self.step))).collect()
    }

    /// 0 at the axis' begin, 1 at its end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        value / self.end
    }
}

/// Enough decimals for the step, thousands apart.
fn tick_label(value: f64, step: f64) -> String {
    if step >= 1.0 && step.fract() == 0.0 {
        return words::thousands(value);
    }
    let decimals = (0..6).find(|decimals| ((step * 10_f64.powi(*decimals)).fract() - 0.5).abs() > 0.499).unwrap_or(6);
    format!("{value:.*}", decimals as usize)
}

/// A logarithmic axis with ticks at 1, 2 and 5 of each decade.
#[derive(Clone, Debug)]
pub(crate) struct Logarithmic {
    low: f64,
    high: f64,
}

impl Logarithmic {
    /// `None` when there is nothing positive to show.
    pub(crate) fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        (high > 0.0).then(|| Self { low: (low * 0.9).log10(), high: (high * 1.1).log10() })
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        ((value.max(1e-12).log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let wide = self.high - self.low > 2.0;
        let factors: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|value| (self.low..=self.high).contains(&value.log10()))
            .map(|value| (value, if value >= 1.0 { words::thousands(value) } else { format!("{value}") }))
            .collect()
    }
}

/// Horizontal grid, tick labels left of it, and the axis' name with its unit above: no turned text.
pub(crate) fn vertical(scene: &mut Scene, panel: &Panel, axis: &Linear, name: &str) {
    scene.bold((panel.left, panel.top - 20.0), 14.0, Anchor::Start, Paint::Ink, name);
    for (value, label) in axis.ticks() {
        let y = panel.bottom() - axis.place(value) * panel.height;
        let (paint, width) = if value == 0.0 { (Paint::Muted, 1.5) } else { (Paint::Grid, 1.0) };
        scene.line(vec![(panel.left, y), (panel.right(), y)], paint, width);
        scene.text((panel.left - 8.0, y + 4.5), 13.0, Anchor::End, Paint::Muted, label);
    }
}

/// Vertical grid and labels below, with the axis' name under them; `ticks` by their place from 0 to 1.
pub(crate) fn horizontal(scene: &mut Scene, panel: &Panel, ticks: &[(f64, String)], name: &str) {
    for (place, label) in ticks {
        let x = panel.left + place * panel.width;
        scene.line(vec![(x, panel.top), (x, panel.bottom())], Paint::Grid, 1.0);
        scene.text((x, panel.bottom() + 20.0), 13.0, Anchor::Middle, Paint::Muted, label.clone());
    }
    scene.line(vec![(panel.left, panel.bottom()), (panel.right(), panel.bottom())], Paint::Muted, 1.5);
    scene.text((panel.left + panel.width / 2.0, panel.bottom() + 44.0), 14.0, Anchor::Middle, Paint::Ink, name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_above_the_largest_value() {
        let labels = |most: f64| Linear::up_to(most, 0.0).ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(4_300.0), ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]);
        assert_eq!(labels(0.9), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(12.0), ["0.0", "2.5", "5.0", "7.5", "10.0", "12.5"]);
        for most in [f64::NAN, 0.0, -3.0, 1e-9, 3.3, 99.0, 1e12] {
            let axis = Linear::up_to(most, 0.1);
            assert!(axis.end.is_finite() && axis.end >= most.max(0.0) && axis.ticks().len() <= 12, "{most}");
        }
    }

    #[test]
    fn a_logarithmic_axis_holds_all_its_values() {
        let axis = Logarithmic::around([12.0, 340.0].into_iter()).expect("positive");
        assert!([12.0, 340.0].iter().all(|value| (0.0..=1.0).contains(&axis.place(*value))));
        assert_eq!(axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>(), ["20", "50", "100", "200"]);
        assert!(Logarithmic::around([0.0, f64::NAN].into_iter()).is_none());
    }
}
