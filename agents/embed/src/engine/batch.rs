//! Which of the waiting texts run next. Padding is the largest waste on short texts, so a batch holds texts of similar
//! length; it always holds the oldest text too, so nothing waits longer than the texts that came before it.

use std::cmp::Reverse;

/// `lengths`: of the waiting texts in order of arrival, not empty. Returns the places of the next batch, longest first.
/// A batch's texts times its longest text stay within `budget`, except that one text alone always fits.
///
/// All are cut into batches from the longest down, and the batch with place 0 is taken: cutting anew each time lets
/// late arrivals fill gaps.
pub(crate) fn choose(lengths: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&place| Reverse(lengths[place]));
    let mut batch: Vec<usize> = Vec::new();
    let mut longest = 0;
    for place in order {
        if batch.is_empty() {
            longest = lengths[place];
        } else if (batch.len() + 1) * longest > budget {
            if batch.contains(&0) {
                break;
            }
            batch.clear();
            longest = lengths[place];
        }
        batch.push(place);
    }
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::choose;

    #[test]
    fn takes_the_texts_that_are_as_long_as_the_oldest() {
        // Oldest: 10 tokens. The long ones would pad it, the shorter ones fill its batch.
        assert_eq!(choose(&[10, 100, 9, 100, 8], 30), vec![0, 2, 4]);
        assert_eq!(choose(&[100, 10, 100, 10], 200), vec![0, 2]);
    }

    #[test]
    fn a_text_above_the_budget_runs_alone() {
        assert_eq!(choose(&[512, 511, 3], 100), vec![0]);
    }

    #[test]
    fn without_a_choice_everything_runs() {
        assert_eq!(choose(&[3, 5, 4], 1000), vec![1, 2, 0]);
    }

    proptest! {
        #[test]
        fn a_batch_holds_the_oldest_and_keeps_the_budget(
            lengths in prop::collection::vec(1_usize..300, 1..200),
            budget in 1_usize..3000,
        ) {
            let batch = choose(&lengths, budget);
            prop_assert!(batch.contains(&0));
            let longest = batch.iter().map(|&place| lengths[place]).max().expect("not empty");
            prop_assert!(batch.len() == 1 || batch.len() * longest <= budget);
            let mut distinct = batch.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), batch.len());
        }

        /// Batch by batch until nothing is left: every text runs once, at little more padding than a sort of all would cost.
        #[test]
        fn all_texts_run_once(lengths in prop::collection::vec(1_usize..300, 1..200)) {
            let budget = 1200;
            let mut waiting: Vec<usize> = (0..lengths.len()).collect();
            let mut ran = Vec::new();
            while !waiting.is_empty() {
                let of_waiting: Vec<usize> = waiting.iter().map(|&text| lengths[text]).collect();
                let batch = choose(&of_waiting, budget);
                ran.extend(batch.iter().map(|&place| waiting[place]));
                waiting = (0..waiting.len()).filter(|place| !batch.contains(place)).map(|place| waiting[place]).collect();
            }
            ran.sort_unstable();
            prop_assert_eq!(ran, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
