//! How a batch lies in memory for the packed graph: the tokens of all texts one after another, without padding. For CUDA
//! graphs its shape is one of a few: the rest of such a shape is filled with texts that belong to nobody.

use em_api::spec::Pooling;

/// T tokens, B rows, no text longer than S.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) tokens: usize,
    pub(crate) rows: usize,
    pub(crate) longest: usize,
}

/// Tokens of the shapes that are captured as CUDA graphs. Steps are small where a single request of 16 short texts lies.
const TOKENS: [usize; 9] = [256, 512, 768, 1024, 1280, 1536, 2048, 3072, 4096];
/// A row for each so many tokens: enough for batches of very short texts, little enough for the pooling product.
const TOKENS_A_ROW: usize = 16;
/// Longest texts of the captured shapes. Local layers compute all of S × S, so longer texts run without a graph.
const LONGEST: [usize; 3] = [128, 352, 1024];

/// Tokens of a batch by default, and the most of a captured one. Larger batches measured 5 % faster at twice the latency.
pub(crate) const MOST_TOKENS: usize = TOKENS[TOKENS.len() - 1];

impl Shape {
    /// The shapes to capture, for texts of up to `max_length` tokens.
    pub(crate) fn captured(max_length: usize) -> Vec<Self> {
        // The class above the longest text is the last that is of use.
        let classes = LONGEST.iter().take(LONGEST.iter().filter(|&&longest| longest < max_length).count() + 1);
        let shapes = classes.flat_map(|&longest| TOKENS.map(|tokens| Self { tokens, rows: tokens / TOKENS_A_ROW, longest }));
        shapes.collect()
    }

    /// The smallest captured shape that takes texts of these lengths.
    pub(crate) fn fitting(lengths: impl Iterator<Item = usize> + Clone) -> Option<Self> {
        let (texts, tokens) = (lengths.clone().count(), lengths.clone().sum::<usize>());
        let longest = lengths.max().unwrap_or(0);
        let longest = LONGEST.into_iter().find(|&class| longest <= class)?;
        let takes = |&of: &usize| of >= tokens && of / TOKENS_A_ROW >= texts + (of - tokens).div_ceil(longest);
        let tokens = TOKENS.into_iter().find(takes)?;
        Some(Self { tokens, rows: tokens / TOKENS_A_ROW, longest })
    }

    /// For texts that fit no captured shape: no filler, and S in powers of two, so that few bands are made.
    pub(crate) fn exact(lengths: impl Iterator<Item = usize> + Clone) -> Self {
        let longest = lengths.clone().max().unwrap_or(0).next_power_of_two().max(8);
        Self { tokens: lengths.clone().sum(), rows: lengths.count(), longest }
    }
}

/// The inputs of the packed graph that change with every batch.
#[derive(Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) ids: Vec<i32>,
    /// Each token's place in its text.
    pub(crate) positions: Vec<i64>,
    /// The text that the token is pooled into, -1 for none.
    pub(crate) owners: Vec<i32>,
    /// Where texts begin, and the end; unused rows are empty texts at the end.
    pub(crate) starts: Vec<i32>,
}

/// `shape` takes the texts, as [`Shape::fitting`] or [`Shape::exact`] said.
pub(crate) fn layout(texts: &[&[u32]], shape: Shape, pooling: Pooling) -> Layout {
    let mut layout = Layout {
        ids: Vec::with_capacity(shape.tokens),
        positions: Vec::with_capacity(shape.tokens),
        owners: Vec::with_capacity(shape.tokens),
        starts: Vec::with_capacity(shape.rows + 1),
    };
    layout.starts.push(0);
    for (row, text) in texts.iter().enumerate() {
        let pooled = |place: usize| match pooling {
            Pooling::Mean => true,
            Pooling::Cls => place == 0,
            Pooling::Last => place + 1 == text.len(),
        };
        let owners = (0..text.len()).map(|place| if pooled(place) { row as i32 } else { -1 });
        layout.ids.extend(text.iter().map(|&id| id as i32));
        layout.positions.extend(0..text.len() as i64);
        layout.owners.extend(owners);
        layout.starts.push(layout.ids.len() as i32);
    }
    // A filler text longer than S would leave its last rows unwritten, and what lies there may be no number.
    while layout.ids.len() < shape.tokens {
        let length = shape.longest.min(shape.tokens - layout.ids.len());
        layout.ids.resize(layout.ids.len() + length, 0);
        layout.positions.extend(0..length as i64);
        layout.owners.resize(layout.owners.len() + length, -1);
        layout.starts.push(layout.ids.len() as i32);
    }
    layout.starts.resize(shape.rows + 1, shape.tokens as i32);
    layout
}

/// Places of the next batch: in order of arrival whatever fits `budget` tokens and one shape. The oldest text always runs.
pub(crate) fn choose(lengths: &[usize], budget: usize) -> Vec<usize> {
    let rows = budget.div_ceil(TOKENS_A_ROW);
    let (mut chosen, mut tokens) = (Vec::new(), 0);
    for (place, &length) in lengths.iter().enumerate() {
        if place > 0 && tokens + length > budget {
            continue;
        }
        tokens += length;
        chosen.push(place);
        if chosen.len() == rows || tokens >= budget {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(lengths: &[usize]) -> Vec<Vec<u32>> {
        lengths.iter().enumerate().map(|(text, &length)| (0..length).map(|place| (text * 1000 + place) as u32).collect()).collect()
    }

    #[test]
    fn each_text_keeps_its_tokens_and_the_rest_belongs_to_nobody() {
        let texts = texts(&[3, 2]);
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let shape = Shape { tokens: 10, rows: 5, longest: 4 };
        let got = layout(&texts, shape, Pooling::Mean);
        assert_eq!(got.ids, [0, 1, 2, 1000, 1001, 0, 0, 0, 0, 0]);
        assert_eq!(got.positions, [0, 1, 2, 0, 1, 0, 1, 2, 3, 0]);
        assert_eq!(got.owners, [0, 0, 0, 1, 1, -1, -1, -1, -1, -1]);
        assert_eq!(got.starts, [0, 3, 5, 9, 10, 10]);
        assert_eq!(layout(&texts, shape, Pooling::Cls).owners, [0, -1, -1, 1, -1, -1, -1, -1, -1, -1]);
        assert_eq!(layout(&texts, shape, Pooling::Last).owners, [-1, -1, 0, -1, 1, -1, -1, -1, -1, -1]);
    }

    #[test]
    fn texts_beyond_every_graph_run_as_they_are() {
        assert_eq!(Shape::fitting([1025].into_iter()), None);
        assert_eq!(Shape::exact([1025, 3].into_iter()), Shape { tokens: 1028, rows: 2, longest: 2048 });
    }

    #[test]
    fn models_of_short_texts_need_fewer_graphs() {
        assert_eq!(Shape::captured(128).len(), TOKENS.len());
        assert_eq!(Shape::captured(512).len(), 3 * TOKENS.len());
        assert_eq!(Shape::captured(8192).len(), 3 * TOKENS.len());
    }

    proptest! {
        /// What the kernels rely on: every token lies in one text, no text is longer than S, each owner owns its own tokens.
        #[test]
        fn a_layout_is_what_the_kernels_expect(lengths in prop::collection::vec(1_usize..200, 1..60)) {
            let texts = texts(&lengths);
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let all = lengths.iter().copied();
            let shape = Shape::fitting(all.clone()).unwrap_or_else(|| Shape::exact(all));
            let got = layout(&texts, shape, Pooling::Mean);
            prop_assert_eq!((got.ids.len(), got.positions.len(), got.owners.len()), (shape.tokens, shape.tokens, shape.tokens));
            prop_assert_eq!(got.starts.len(), shape.rows + 1);
            prop_assert_eq!((got.starts[0], got.starts[shape.rows]), (0, shape.tokens as i32));
            for (row, bounds) in got.starts.windows(2).enumerate() {
                let (from, to) = (bounds[0] as usize, bounds[1] as usize);
                prop_assert!(from <= to && to - from <= shape.longest);
                prop_assert_eq!(&got.positions[from..to], (0..(to - from) as i64).collect::<Vec<_>>());
                let owner = if row < texts.len() { row as i32 } else { -1 };
                prop_assert!(got.owners[from..to].iter().all(|&of| of == owner));
                if let Some(text) = texts.get(row) {
                    prop_assert_eq!(&got.ids[from..to], text.iter().map(|&id| id as i32).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn a_batch_holds_the_oldest_and_fits_a_shape(lengths in prop::collection::vec(1_usize..300, 1..400)) {
            let batch = choose(&lengths, MOST_TOKENS);
            prop_assert_eq!(batch[0], 0);
            prop_assert!(batch.iter().map(|&place| lengths[place]).sum::<usize>() <= MOST_TOKENS);
            prop_assert!(Shape::fitting(batch.iter().map(|&place| lengths[place])).is_some());
        }
    }
}
