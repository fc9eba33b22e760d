//! Whether two servers give the same vectors for the same texts: directions, lengths, single numbers, and what a search would
//! notice, the nearest neighbours. Each planted fault shows in one of them: wrong pooling, tokenizer or truncation turn vectors,
//! a missing normalisation only changes their length.

/// Nearest neighbours of a text that are compared.
pub const NEIGHBOURS: usize = 10;
/// Lengths may differ by this share of the reference's: half precision stays below it, a missing normalisation does not.
pub const LENGTH_TOLERANCE: f64 = 0.01;

/// Of `texts` pairs of vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    pub texts: usize,
    pub min_cosine: f64,
    pub mean_cosine: f64,
    /// Of single numbers.
    pub max_abs_difference: f64,
    /// Largest `| |own| / |reference| − 1 |`.
    pub max_length_difference: f64,
    /// Own vectors without a direction: zero, NaN or infinite. Their cosine counts as 0.
    pub broken: usize,
    /// The same of the reference: nothing can be held to it then.
    pub reference_broken: usize,
}

/// `own` and `reference`: rows of `dim` numbers, row-major, of the same texts in the same order.
pub fn agreement(own: &[f32], reference: &[f32], dim: usize) -> Agreement {
    let mut seen = Agreement {
        texts: 0,
        min_cosine: 1.0,
        mean_cosine: 0.0,
        max_abs_difference: 0.0,
        max_length_difference: 0.0,
        broken: 0,
        reference_broken: 0,
    };
    let mut sum = 0.0;
    for (own, reference) in own.chunks_exact(dim.max(1)).zip(reference.chunks_exact(dim.max(1))) {
        let (mut dot, mut own_square, mut reference_square) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (x, y) in own.iter().zip(reference) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            dot += x * y;
            own_square += x * x;
            reference_square += y * y;
            seen.max_abs_difference = seen.max_abs_difference.max((x - y).abs());
        }
        let has_direction = |square: f64| square.is_finite() && square > 0.0;
        seen.broken += usize::from(!has_direction(own_square));
        seen.reference_broken += usize::from(!has_direction(reference_square));
        let cosine = dot / (own_square * reference_square).sqrt();
        let cosine = if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 };
        let length = (own_square / reference_square).sqrt() - 1.0;
        if length.is_finite() {
            seen.max_length_difference = seen.max_length_difference.max(length.abs());
        }
        seen.texts += 1;
        seen.min_cosine = seen.min_cosine.min(cosine);
        sum += cosine;
    }
    seen.mean_cosine = sum / seen.texts.max(1) as f64;
    seen
}

/// Largest `| |row| − 1 |`; infinite for a row without a direction.
pub fn off_unit_length(rows: &[f32], dim: usize) -> f64 {
    let length = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let off = rows.chunks_exact(dim.max(1)).map(|row| (length(row) - 1.0).abs());
    off.map(|off| if off.is_finite() { off } else { f64::INFINITY }).fold(0.0, f64::max)
}

/// Share of each text's [`NEIGHBOURS`] nearest other texts (by cosine) that both name, averaged over all texts. `None`: so few
/// texts that everybody is everybody's neighbour. A neighbour as near as the tenth, up to rounding, counts as named.
pub fn neighbour_overlap(own: &[f32], reference: &[f32], dim: usize) -> Option<f64> {
    let (own, reference) = (unit_rows(own, dim), unit_rows(reference, dim));
    let texts = own.len().min(reference.len());
    if texts < 2 * NEIGHBOURS {
        return None;
    }
    let mut shared = 0;
    for text in 0..texts {
        let (mine, right) = (similarities(&own, text), similarities(&reference, text));
        let least = nth_largest(&right, NEIGHBOURS) - ROUNDING;
        shared += nearest(&mine, NEIGHBOURS).into_iter().filter(|other| right[*other] >= least).count();
    }
    Some(shared as f64 / (texts * NEIGHBOURS) as f64)
}

/// Two texts nearly as near as each other may change places between two ways of adding the same numbers.
const ROUNDING: f32 = 1e-5;

fn unit_rows(rows: &[f32], dim: usize) -> Vec<Vec<f32>> {
    let unit = |row: &[f32]| {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(|x| if length > 0.0 && length.is_finite() { x / length } else { 0.0 }).collect()
    };
    rows.chunks_exact(dim.max(1)).map(unit).collect()
}

/// To every text; of itself: below all others.
fn similarities(rows: &[Vec<f32>], of: usize) -> Vec<f32> {
    let dot = |other: &Vec<f32>| rows[of].iter().zip(other).map(|(x, y)| x * y).sum::<f32>();
    rows.iter().enumerate().map(|(at, other)| if at == of { f32::NEG_INFINITY } else { dot(other) }).collect()
}

fn nearest(similarities: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..similarities.len()).collect();
    order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
    order.truncate(count);
    order
}

fn nth_largest(similarities: &[f32], count: usize) -> f32 {
    nearest(similarities, count).last().map_or(f32::NEG_INFINITY, |place| similarities[*place])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::RngCore;

    use super::*;

    const DIM: usize = 16;

    fn rows(seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rows: Vec<f32> = (0..40 * DIM).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
        unit_rows(&rows, DIM).concat()
    }

    #[test]
    fn equal_vectors_agree_in_everything() {
        let own = rows(1);
        let seen = agreement(&own, &own, DIM);
        assert!(seen.texts == 40 && seen.min_cosine > 0.999_999_9 && seen.max_abs_difference == 0.0, "{seen:?}");
        assert_eq!((seen.broken, seen.max_length_difference), (0, 0.0));
        assert_eq!(neighbour_overlap(&own, &own, DIM), Some(1.0));
        assert!(off_unit_length(&own, DIM) < 1e-6);
    }

    #[test]
    fn a_longer_vector_is_no_other_direction_but_shows_in_its_length() {
        let right = rows(1);
        let own: Vec<f32> = right.iter().map(|x| x * 3.0).collect();
        let seen = agreement(&own, &right, DIM);
        assert!(seen.min_cosine > 0.999_999_9 && (seen.max_length_difference - 2.0).abs() < 1e-5, "{seen:?}");
        assert!(seen.max_length_difference > LENGTH_TOLERANCE && (off_unit_length(&own, DIM) - 2.0).abs() < 1e-5);
    }

    #[test]
    fn other_vectors_share_few_neighbours_and_one_bad_text_is_the_least_cosine() {
        let right = rows(1);
        let shared = neighbour_overlap(&rows(2), &right, DIM).expect("enough texts");
        assert!((0.1..0.5).contains(&shared), "chance is 10 of 39: {shared}");
        let mut own = right.clone();
        own[..DIM].iter_mut().for_each(|x| *x = -*x);
        let seen = agreement(&own, &right, DIM);
        assert!(seen.min_cosine < -0.999_999 && seen.mean_cosine > 0.9, "{seen:?}");
    }

    #[test]
    fn vectors_without_a_direction_agree_with_nothing() {
        let right = rows(1);
        let mut own = right.clone();
        own[0] = f32::NAN;
        own[DIM..2 * DIM].fill(0.0);
        let seen = agreement(&own, &right, DIM);
        assert_eq!((seen.broken, seen.reference_broken, seen.min_cosine), (2, 0, 0.0));
        assert_eq!(agreement(&right, &own, DIM).reference_broken, 2);
        assert_eq!(off_unit_length(&own, DIM), f64::INFINITY);
        assert_eq!(neighbour_overlap(&own[..DIM], &right[..DIM], DIM), None);
    }
}
