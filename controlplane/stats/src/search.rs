//! The largest load that still meets a limit, by at most twelve probes: bracketing, bisection, and a line through the probes
//! near the edge. Pure: it says which rate to try next and is told what came of it.
//!
//! Far from the edge a probe says only *above* or *below*, so the rates are bracketed and halved on the log scale. Near it the share
//! of requests over the limit rises with the rate: a quasi-binomial regression (logit of the share on the log of the rate, its
//! scatter taken from the residuals: McCullagh & Nelder, *Generalized Linear Models*, 4.5) is solved for the allowed share, with
//! Fieller's interval for such a root (E. C. Fieller, J. R. Stat. Soc. B 16, 1954). Where the edge is so sharp that no probe lies on
//! it, the bracket is the interval.

use crate::interval::{CONFIDENCE, student_quantile};

/// One search takes no more probes than this.
pub const MOST_PROBES: usize = 12;
/// Steps up, and down, while only one side is known; the last again and again.
const STEPS: [f64; 3] = [1.5, 2.0, 3.0];
/// A bracket this narrow is the answer.
const NARROW: f64 = 1.015;
/// The upper end of a bracket narrower than this is tried a second time, a little higher: one stalled probe must not decide.
const DOUBTED: f64 = 1.2;
const AGAIN: f64 = 1.02;
/// Probes of the line: within this factor of the edge, and with a share at most so many times the allowed one. Farther away the
/// logit is no straight line, and an overloaded probe shows its own length.
const NEAR: f64 = 1.30;
const MOST_OVER: f64 = 20.0;
/// Probes near the edge are spread by so much, or their slope could not be told.
const SPREAD: [f64; 4] = [-0.13, 0.13, -0.05, 0.05];
/// A line takes so many probes and requests over the limit.
const LEAST_PROBES: usize = 4;
const LEAST_OVER: u64 = 8;

/// What one probe saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Offered, requests per second.
    pub rate: f64,
    pub requests: u64,
    /// Requests that took longer than the limit, or failed.
    pub over: u64,
}

impl Probe {
    fn share(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { self.over as f64 / self.requests as f64 }
    }
}

#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    /// Share of requests that may be over the limit: 0.01 for a p99.
    allowed: f64,
    probes: Vec<Probe>,
}

/// Where the search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Requests per second; 0 when even the lowest rate was too much.
    pub rate: f64,
    pub low: f64,
    /// Absent when no rate that was tried was too much.
    pub high: Option<f64>,
    pub by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The root of the line, with a 95 % interval.
    Line,
    /// The highest rate that passed; the interval ends at the lowest that did not.
    Bracket,
}

impl Search {
    /// `start`: first rate to try, best a little below what the server reaches in a closed loop. `allowed`: share of requests that
    /// may be over the limit, between 0 and 1, exclusive.
    pub fn new(start: f64, allowed: f64) -> Self {
        Self { start, allowed, probes: Vec::new() }
    }

    /// The rate to try next; `None`: enough is known, or [`MOST_PROBES`] were made.
    pub fn next_rate(&self) -> Option<f64> {
        if self.probes.len() >= MOST_PROBES {
            return None;
        }
        if self.probes.is_empty() {
            return Some(self.start);
        }
        if let Some(edge) = self.edge() {
            return Some(edge * (1.0 + SPREAD[self.probes.len() % SPREAD.len()]));
        }
        match self.bracket() {
            (None, high) => Some(high? / self.step()),
            (Some(low), None) => Some(low * self.step()),
            (Some(low), Some(high)) if high / low <= DOUBTED && self.failed_near(high) < 2 => Some(high * AGAIN),
            (Some(low), Some(high)) => (high / low > NARROW).then(|| (low * high).sqrt()),
        }
    }

    fn step(&self) -> f64 {
        STEPS[(self.probes.len() - 1).min(STEPS.len() - 1)]
    }

    pub fn record(&mut self, probe: Probe) {
        self.probes.push(probe);
    }

    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    pub fn found(&self) -> Found {
        let (low, high) = self.bracket();
        let bracket = Found { rate: low.unwrap_or(0.0), low: low.unwrap_or(0.0), high, by: By::Bracket };
        self.line().map_or(bracket, |line| Found { rate: line.root, low: line.low, high: Some(line.high), by: By::Line })
    }

    pub fn passed(&self, probe: &Probe) -> bool {
        probe.share() <= self.allowed
    }

    /// Highest rate below the edge and lowest above it, where the edge parts the probes with the fewest on the wrong side: one
    /// odd probe (a stall, a lucky moment) is outvoted by two others.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let mut sorted: Vec<&Probe> = self.probes.iter().collect();
        sorted.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let wrong = |edge: usize| {
            let below = sorted[..edge].iter().filter(|probe| !self.passed(probe)).count();
            below + sorted[edge..].iter().filter(|probe| self.passed(probe)).count()
        };
        let edge = (0..=sorted.len()).min_by_key(|edge| wrong(*edge)).unwrap_or(0);
        (edge.checked_sub(1).map(|at| sorted[at].rate), sorted.get(edge).map(|probe| probe.rate))
    }

    fn failed_near(&self, rate: f64) -> usize {
        let near = |probe: &&Probe| !self.passed(probe) && (rate..=rate * AGAIN.powi(3)).contains(&probe.rate);
        self.probes.iter().filter(near).count()
    }

    /// A first guess of the edge, as soon as a line can be drawn at all.
    fn edge(&self) -> Option<f64> {
        let near = self.near_edge();
        let passed = near.iter().filter(|probe| self.passed(probe)).count();
        let informative = near.iter().filter(|probe| probe.over > 0).count();
        if informative < 2 || passed == 0 || passed == near.len() {
            return None;
        }
        let fit = fit(&near)?;
        let root = ((self.target() - fit.a) / fit.b).exp();
        let (low, high) = near.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(one.rate), high.max(one.rate)));
        // Not far outside of what was tried, whatever a line through two probes says.
        Some(if fit.b > 0.0 { root.clamp(low / 1.05, high * 1.05) } else { (low * high).sqrt() })
    }

    fn target(&self) -> f64 {
        logit(self.allowed)
    }

    fn near_edge(&self) -> Vec<Probe> {
        let middle = match self.bracket() {
            (Some(low), Some(high)) => (low * high).sqrt(),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Vec::new(),
        };
        let near = |probe: &&Probe| {
            let away = (probe.rate / middle).max(middle / probe.rate);
            away <= NEAR && probe.share() <= self.allowed * MOST_OVER && probe.requests > 0
        };
        self.probes.iter().filter(near).copied().collect()
    }

    fn line(&self) -> Option<Line> {
        let near = self.near_edge();
        if near.len() < LEAST_PROBES || near.iter().map(|probe| probe.over).sum::<u64>() < LEAST_OVER {
            return None;
        }
        let fit = fit(&near)?;
        let degrees = near.len() - 2;
        let scatter = (fit.pearson / degrees as f64).max(1.0);
        let t = student_quantile(degrees as u32, 0.5 + CONFIDENCE / 2.0);
        fit.root(self.target(), scatter, t)
    }
}

struct Line {
    root: f64,
    low: f64,
    high: f64,
}

/// `logit(share) = a + b·ln(rate)`.
struct Fit {
    a: f64,
    b: f64,
    /// Inverse of the information: variances of a and b, and their covariance, at a scatter of 1.
    va: f64,
    vb: f64,
    cab: f64,
    /// Pearson's statistic.
    pearson: f64,
}

impl Fit {
    /// Fieller's interval of the rate where the line reaches `target`; `None` where the slope cannot be told from 0.
    fn root(&self, target: f64, scatter: f64, t: f64) -> Option<Line> {
        let (va, vb, cab) = (self.va * scatter, self.vb * scatter, self.cab * scatter);
        let (u, t2) = (target - self.a, t * t);
        // All x with (u − b·x)² ≤ t²·Var(a + b·x).
        let (qa, qb, qc) = (self.b * self.b - t2 * vb, -2.0 * (u * self.b + t2 * cab), u * u - t2 * va);
        let discriminant = qb * qb - 4.0 * qa * qc;
        if self.b <= 0.0 || qa <= 0.0 || discriminant < 0.0 {
            return None;
        }
        let half = discriminant.sqrt() / (2.0 * qa);
        let middle = -qb / (2.0 * qa);
        Some(Line { root: (u / self.b).exp(), low: (middle - half).exp(), high: (middle + half).exp() })
    }
}

/// By Newton's method on the likelihood (iteratively reweighted least squares).
fn fit(probes: &[Probe]) -> Option<Fit> {
    let points: Vec<(f64, f64, f64)> =
        probes.iter().map(|probe| (probe.rate.ln(), probe.over as f64, probe.requests as f64)).collect();
    let total: f64 = points.iter().map(|point| point.2).sum();
    let centre = points.iter().map(|(x, _, n)| x * n).sum::<f64>() / total;
    let over: f64 = points.iter().map(|point| point.1).sum();
    if over <= 0.0 || over >= total {
        return None;
    }
    // Centred, so that a and b hardly depend on each other and Newton's steps stay small.
    let (mut a, mut b) = (logit(over / total), 0.0);
    let mut information = (0.0, 0.0, 0.0);
    for _ in 0..60 {
        let (mut ga, mut gb) = (0.0, 0.0);
        information = (0.0, 0.0, 0.0);
        for (x, k, n) in &points {
            let x = x - centre;
            let p = logistic(a + b * x);
            let weight = (n * p * (1.0 - p)).max(1e-12);
            ga += k - n * p;
            gb += (k - n * p) * x;
            information = (information.0 + weight, information.1 + weight * x, information.2 + weight * x * x);
        }
        let determinant = information.0 * information.2 - information.1 * information.1;
        if determinant <= 1e-12 {
            return None;
        }
        let step_a = (information.2 * ga - information.1 * gb) / determinant;
        let step_b = (information.0 * gb - information.1 * ga) / determinant;
        a += step_a.clamp(-2.0, 2.0);
        b += step_b.clamp(-20.0, 20.0);
        if step_a.abs() < 1e-10 && step_b.abs() < 1e-8 {
            break;
        }
    }
    let determinant = information.0 * information.2 - information.1 * information.1;
    let (va, vb, cab) = (information.2 / determinant, information.0 / determinant, -information.1 / determinant);
    let pearson = points.iter().map(|(x, k, n)| {
        let p = logistic(a + b * (x - centre));
        (k - n * p).powi(2) / (n * p * (1.0 - p)).max(1e-12)
    });
    let pearson = pearson.sum();
    // Back from the centred x: a' = a − b·c.
    let fit = Fit { a: a - b * centre, b, va: va - 2.0 * centre * cab + centre * centre * vb, vb, cab: cab - centre * vb, pearson };
    (fit.a.is_finite() && fit.b.is_finite()).then_some(fit)
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
