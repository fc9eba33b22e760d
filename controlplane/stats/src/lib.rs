//! Histograms, intervals, steady state: the statistics of Embedding Meter, pure and without words of the wire.

pub mod histogram;
