//! One number over all cells: a geometric mean in which a missing cell costs. Without a penalty a backend would gain by
//! failing where it is slow.

/// What a missing cell counts as, against the lowest rate that any backend reached in that cell. ClickBench charges twice the
/// worst time in the same place (ClickHouse/ClickBench, README, "Results Usage and Scoreboards").
pub const MISSING_COUNTS_AS: f64 = 0.5;

/// `rows[backend][cell]`: rates. A cell that no backend has is left out; a backend that has none gets no mean.
pub fn geometric_means(rows: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
    let cells = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rate = |row: &[Option<f64>], cell: usize| row.get(cell).copied().flatten().filter(|rate| rate.is_finite() && *rate > 0.0);
    let lowest: Vec<Option<f64>> = (0..cells)
        .map(|cell| {
            rows.iter()
                .filter_map(|row| rate(row, cell))
                .fold(None, |least: Option<f64>, rate| Some(least.map_or(rate, |l| l.min(rate))))
        })
        .collect();
    rows.iter()
        .map(|row| {
            if (0..cells).all(|cell| rate(row, cell).is_none()) {
                return None;
            }
            let logs: Vec<f64> = (0..cells)
                .filter_map(|cell| rate(row, cell).or(lowest[cell].map(|lowest| lowest * MISSING_COUNTS_AS)))
                .map(f64::ln)
                .collect();
            Some((logs.iter().sum::<f64>() / logs.len() as f64).exp())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(seen: Option<f64>, expected: f64) {
        assert!((seen.expect("a mean") - expected).abs() < 1e-9, "{seen:?} for {expected}");
    }

    #[test]
    fn a_missing_cell_counts_as_half_of_the_worst() {
        let means = geometric_means(&[vec![Some(4.0), Some(16.0)], vec![Some(4.0), None]]);
        close(means[0], 8.0);
        close(means[1], (4.0_f64 * 8.0).sqrt());
    }

    #[test]
    fn a_backend_gains_nothing_by_failing_where_it_is_slow() {
        let whole = geometric_means(&[vec![Some(100.0), Some(10.0)], vec![Some(90.0), Some(20.0)]]);
        let failing = geometric_means(&[vec![Some(100.0), None], vec![Some(90.0), Some(20.0)]]);
        assert!(failing[0].expect("one cell") <= whole[0].expect("two cells") + 1e-9);
    }

    #[test]
    fn what_nobody_has_is_left_out_and_who_has_nothing_gets_no_mean() {
        let means = geometric_means(&[vec![Some(9.0), None], vec![None, None]]);
        close(means[0], 9.0);
        assert_eq!(means[1], None);
        assert_eq!(geometric_means(&[]), Vec::<Option<f64>>::new());
    }
}
