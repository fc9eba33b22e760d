//! Columns of text, as wide as their widest entry.

/// How the entries of a column stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A header line and one line a row, two spaces apart, no spaces at line ends.
pub(crate) fn render(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let widest = rows.iter().filter_map(|row| row.get(index)).map(|entry| entry.chars().count()).max();
        widest.unwrap_or(0).max(columns[index].0.chars().count())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let header: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for ((entry, width), (_, align)) in row.iter().zip(&widths).zip(columns) {
            let gap = " ".repeat(width - entry.chars().count());
            match align {
                Align::Left => line.extend([entry.as_str(), &gap, "  "]),
                Align::Right => line.extend([gap.as_str(), entry, "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
