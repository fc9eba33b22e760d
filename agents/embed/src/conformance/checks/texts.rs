//! Texts of all sorts: none, strange, very long, very many.

use serde_json::{Map, Value, json};

use super::super::subject::cosine;
use super::{Check, Difference, Seen, Subject, checks, differs, fine};

pub(super) fn all() -> Vec<Check> {
    checks![
        an_empty_text_has_a_vector,
        blank_texts_have_vectors,
        unicode_has_vectors_of_its_own,
        control_characters_are_text,
        a_lone_surrogate_is_refused,
        a_long_word_is_text,
        too_long_is_refused_unless_asked_to_cut,
        asked_to_cut_it_cuts_the_end,
        the_most_texts_are_answered,
        more_than_the_most_are_refused,
    ]
}

async fn an_empty_text_has_a_vector(subject: &Subject) -> Seen {
    let answer = subject.ask(json!(["", "not empty"])).await?;
    if (400..500).contains(&answer.status) {
        return differs(Difference::NoEmptyText, format!("status {}", answer.status));
    }
    let vectors = answer.vectors()?;
    let finite = vectors.iter().flatten().all(|number| number.is_finite());
    if vectors.len() == 2 && finite { fine("") } else { Err(format!("{} vectors, finite: {finite}", vectors.len())) }
}

async fn blank_texts_have_vectors(subject: &Subject) -> Seen {
    let answer = subject.ask(json!([" ", "\n\t", "\u{3000}"])).await?;
    if (400..500).contains(&answer.status) {
        return differs(Difference::NoEmptyText, format!("status {}", answer.status));
    }
    if answer.vectors()?.iter().flatten().all(|number| number.is_finite()) { fine("") } else { Err("NaN or infinity".into()) }
}

async fn unicode_has_vectors_of_its_own(subject: &Subject) -> Seen {
    let texts: Vec<String> =
        ["Straße in Köln", "東京は日本の首都です。", "Привет, мир", "مرحبا بالعالم", "😀 👨‍👩‍👧‍👦", "e\u{301}gal \u{200b}x"]
            .map(str::to_owned)
            .to_vec();
    let together = subject.vectors(&texts).await?;
    for (text, vector) in texts.iter().zip(&together) {
        subject.same(&format!("`{text}` alone"), vector, &subject.vector(text).await?)?;
    }
    if cosine(&together[0], &together[2]) > 0.999 { Err("two scripts have one vector".into()) } else { fine("") }
}

async fn control_characters_are_text(subject: &Subject) -> Seen {
    let answer = subject.ask(json!(["a\u{0}b", "a\u{7}b\u{1b}[31m", "line\r\nline", "\u{feff}bom", "\u{202e}turned"])).await?;
    let vectors = answer.vectors()?;
    if vectors.iter().flatten().all(|number| number.is_finite()) { fine("") } else { Err("NaN or infinity".into()) }
}

/// `"\ud800"` is no text in any encoding.
async fn a_lone_surrogate_is_refused(subject: &Subject) -> Seen {
    let body = format!(r#"{{"model":{},"input":"a\ud800b"}}"#, json!(subject.model));
    let answer = subject.post_raw("/v1/embeddings", body.into_bytes()).await?;
    match answer.status {
        200 => differs(Difference::LoneSurrogates, ""),
        _ => fine(answer.refused()?),
    }
}

async fn a_long_word_is_text(subject: &Subject) -> Seen {
    subject.ask_with("x".repeat(5_000), &subject.cut).await?.vectors()?;
    fine("5,000 letters")
}

fn long(subject: &Subject, end: &str) -> String {
    format!("{}{end}", "The bridge over the river was repaired. ".repeat(subject.settings.long_words / 7 + 1))
}

async fn too_long_is_refused_unless_asked_to_cut(subject: &Subject) -> Seen {
    let answer = subject.ask(long(subject, "")).await?;
    if answer.status == 200 {
        return differs(Difference::CutsUnasked, format!("{} words were answered", subject.settings.long_words));
    }
    let status = answer.refused()?;
    let told = answer.json.pointer("/error/message").and_then(Value::as_str).unwrap_or(&answer.text);
    if told.chars().any(|one| one.is_ascii_digit()) {
        fine(format!("{status}, with the length"))
    } else {
        Err(format!("names no length: {told}"))
    }
}

async fn asked_to_cut_it_cuts_the_end(subject: &Subject) -> Seen {
    let one = subject.ask_with(long(subject, "All of this is about cooking."), &subject.cut).await?;
    if (400..500).contains(&one.status) && subject.cut.is_empty() {
        return differs(Difference::NeverCuts, format!("status {}", one.status));
    }
    let other = subject.ask_with(long(subject, "None of this is about sailing on the sea."), &subject.cut).await?;
    let (one, other) = (one.vectors()?.remove(0), other.vectors()?.remove(0));
    subject.same("two texts that differ only beyond the cut", &one, &other)?;
    let begin = subject.vector("The bridge over the river was repaired.").await?;
    fine(format!("cosine {:.3} to its first sentence", cosine(&one, &begin)))
}

async fn stated_limit(subject: &Subject) -> Result<Option<usize>, String> {
    let info = subject.get("/info").await?.json;
    let stated = ["/max_texts", "/max_client_batch_size"].iter().find_map(|place| info.pointer(place)?.as_u64());
    Ok(stated.and_then(|limit| usize::try_from(limit).ok()))
}

fn words(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("w{}", number % 97)).collect()
}

async fn the_most_texts_are_answered(subject: &Subject) -> Seen {
    let count = stated_limit(subject).await?.unwrap_or(subject.settings.max_texts).min(2_048);
    let vectors = subject.vectors(&words(count)).await?;
    subject.same("the first and the 98th, which are one text", &vectors[0], &vectors[97.min(count - 1) / 97 * 97])?;
    fine(format!("{count} texts"))
}

async fn more_than_the_most_are_refused(subject: &Subject) -> Seen {
    let Some(limit) = stated_limit(subject).await? else { return differs(Difference::NoTextLimit, "") };
    let answer = subject.ask_with(words(limit + 1), &Map::new()).await?;
    fine(format!("{}: {} are the most", answer.refused()?, limit))
}
