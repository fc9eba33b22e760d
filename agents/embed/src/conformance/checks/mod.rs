//! The checks, in the order in which they are done: what a server is, shapes, texts, refusals, traffic, its end.

mod end;
mod refusals;
mod routes;
mod shape;
mod texts;
mod traffic;

use em_stats::vectors::{LENGTH_TOLERANCE, agreement, neighbour_overlap};

use super::subject::{Subject, Vectors};
use super::{Check, Difference, Finding, Seen, differs, fine};

/// `checks![module: name, name]` → checks whose names are those of their functions.
macro_rules! checks {
    ($($function:ident),* $(,)?) => {
        vec![$($crate::conformance::Check { name: stringify!($function), run: |subject| Box::pin($function(subject)) }),*]
    };
}
use checks;

pub(super) fn all() -> Vec<Check> {
    [routes::all(), shape::all(), texts::all(), refusals::all(), traffic::all(), end::all()].into_iter().flatten().collect()
}

/// Not of the list: it needs a second server.
pub(super) async fn agree(subject: &Subject, reference: &Subject) -> Seen {
    let (own, right) = (of_parity_texts(subject).await?, of_parity_texts(reference).await?);
    let dim = own.first().map_or(0, Vec::len);
    if right.first().map_or(0, Vec::len) != dim {
        return Err(format!("vectors of {dim} numbers, the reference's have {}", right.first().map_or(0, Vec::len)));
    }
    let (own, right) = (own.concat(), right.concat());
    let seen = agreement(&own, &right, dim);
    let overlap = neighbour_overlap(&own, &right, dim).unwrap_or(1.0);
    let told = format!(
        "least cosine {:.7} over {} texts, largest difference {:.1e}, {:.1} % of neighbours the same",
        seen.min_cosine,
        seen.texts,
        seen.max_abs_difference,
        overlap * 100.0
    );
    let right_length = seen.max_length_difference <= LENGTH_TOLERANCE;
    if seen.min_cosine >= subject.settings.min_cosine && right_length { fine(told) } else { Err(told) }
}

async fn of_parity_texts(subject: &Subject) -> Result<Vectors, String> {
    let mut vectors = Vectors::new();
    for chunk in crate::parity::texts().chunks(25) {
        vectors.extend(subject.ask_with(chunk, &subject.cut).await?.vectors()?);
    }
    Ok(vectors)
}
