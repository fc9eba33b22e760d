//! The statistics of Embedding Meter, pure and without the words of the wire: used by the server and by the load generator.
//!
//! [`histogram`] holds latencies, [`percentile`] says when they carry a percentile, [`interval`], [`paired`] and
//! [`unpaired`] what repetitions and blocks say together, [`bootstrap`] what one run says alone, [`steady`] whether a window was
//! one, [`search`] finds the largest load that meets a limit, [`overall`] sums up. [`vectors`] says whether two servers give the
//! same vectors.

pub mod bootstrap;
pub mod histogram;
pub mod interval;
pub mod overall;
pub mod paired;
pub mod percentile;
pub mod search;
pub mod steady;
pub mod unpaired;
pub mod vectors;
