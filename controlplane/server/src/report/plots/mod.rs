//! The plots of a report. Each lays out one `scene::Scene`; `bitmap` and `svg` write it.

mod axis;
mod bars;
mod bitmap;
mod cdf;
mod pareto;
mod resources;
mod scene;
mod sheet;
pub(crate) mod svg;
mod timeline;

use em_api::results::Results;

use crate::results::ResultsInput;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    Throughput,
    Latency,
    Resources,
    Cdf,
    Pareto,
    Timeline,
}

impl Plot {
    /// The first three have the proof of concept's names.
    pub(crate) const ALL: [Self; 6] = [Self::Throughput, Self::Latency, Self::Resources, Self::Pareto, Self::Cdf, Self::Timeline];

    /// File name below `plots/`, without its ending.
    pub(crate) fn stem(self) -> &'static str {
        match self {
            Self::Throughput => "throughput_comparison",
            Self::Latency => "latency_comparison",
            Self::Resources => "gpu_utilization",
            Self::Cdf => "latency_cdf",
            Self::Pareto => "pareto",
            Self::Timeline => "timeline",
        }
    }

    fn scene(self, input: &ResultsInput, results: &Results) -> scene::Scene {
        let sheet = sheet::Sheet { input, results };
        match self {
            Self::Throughput => bars::throughput(&sheet),
            Self::Latency => bars::latency(&sheet),
            Self::Resources => resources::draw(&sheet),
            Self::Cdf => cdf::draw(&sheet),
            Self::Pareto => pareto::draw(&sheet),
            Self::Timeline => timeline::draw(&sheet),
        }
    }

    pub(crate) fn svg(self, input: &ResultsInput, results: &Results) -> String {
        svg::write(&self.scene(input, results))
    }

    pub(crate) fn png(self, input: &ResultsInput, results: &Results) -> anyhow::Result<Vec<u8>> {
        bitmap::write(&self.scene(input, results))
    }
}
