//! Shapes of answers: one vector for each text, in their order, the same in each form.

use serde_json::{Map, Value, json};

use super::super::subject::{cosine, floats};
use super::{Check, Difference, Finding, Seen, Subject, checks, differs, fine};

pub(super) fn all() -> Vec<Check> {
    checks![
        a_string_gives_one_vector,
        a_list_gives_a_vector_each,
        answers_say_what_they_are,
        order_is_kept,
        equal_texts_get_equal_vectors,
        other_texts_get_other_vectors,
        alone_or_among_others_is_the_same,
        again_is_the_same,
        numbers_are_finite,
        vectors_are_of_unit_length,
        usage_counts_tokens,
        base64_is_the_same,
        token_ids_are_the_same,
        dimensions_shorten_or_are_refused,
        user_is_passed_over,
        the_own_route_is_the_same,
    ]
}

fn texts() -> Vec<String> {
    ["The river froze in January.", "A recipe for bread.", "Stocks fell.", "Where is the station, please?", "x"]
        .map(str::to_owned)
        .to_vec()
}

async fn a_string_gives_one_vector(subject: &Subject) -> Seen {
    let vectors = subject.ask("The river froze in January.").await?.vectors()?;
    match vectors.as_slice() {
        [vector] if !vector.is_empty() => fine(format!("{} numbers", vector.len())),
        _ => Err(format!("{} vectors", vectors.len())),
    }
}

async fn a_list_gives_a_vector_each(subject: &Subject) -> Seen {
    for count in [1, 2, 5] {
        let vectors = subject.vectors(&texts()[..count]).await?;
        if vectors.iter().any(|vector| vector.len() != vectors[0].len()) {
            return Err("vectors of unlike length".into());
        }
    }
    fine("")
}

async fn answers_say_what_they_are(subject: &Subject) -> Seen {
    let answer = subject.ask("x").await?;
    let at = |place: &str| answer.json.pointer(place).cloned().unwrap_or(Value::Null);
    if !answer.content_type.starts_with("application/json") {
        return Err(format!("content type {}", answer.content_type));
    }
    for (place, value) in [("/object", json!("list")), ("/data/0/object", json!("embedding")), ("/data/0/index", json!(0))] {
        if at(place) != value {
            return Err(format!("{place} is {}, not {value}", at(place)));
        }
    }
    if at("/model").is_string() { fine("") } else { Err(format!("/model is {}", at("/model"))) }
}

async fn order_is_kept(subject: &Subject) -> Seen {
    let texts = texts();
    let straight = subject.vectors(&texts).await?;
    let turned = subject.vectors(&texts.iter().rev().cloned().collect::<Vec<_>>()).await?;
    for (text, (one, other)) in texts.iter().zip(straight.iter().zip(turned.iter().rev())) {
        subject.same(&format!("`{text}` in two places"), one, other)?;
    }
    // Lengths in descending order: a server that sorts must sort back.
    let long: Vec<String> = (0..12).map(|number| format!("{number} {}", "word ".repeat(60 - 5 * number))).collect();
    let together = subject.vectors(&long).await?;
    subject.same("the shortest of twelve", &together[11], &subject.vector(&long[11]).await?)?;
    fine("")
}

async fn equal_texts_get_equal_vectors(subject: &Subject) -> Seen {
    let vectors = subject.vectors(&[texts()[0].clone(), texts()[1].clone(), texts()[0].clone()]).await?;
    subject.same("the same text twice in a request", &vectors[0], &vectors[2])?;
    fine("")
}

async fn other_texts_get_other_vectors(subject: &Subject) -> Seen {
    let vectors = subject.vectors(&texts()).await?;
    let nearest = (1..vectors.len()).map(|other| cosine(&vectors[0], &vectors[other])).fold(f64::MIN, f64::max);
    if nearest < 0.999 {
        fine(format!("nearest cosine {nearest:.3}"))
    } else {
        Err(format!("cosine {nearest} between unlike texts"))
    }
}

async fn alone_or_among_others_is_the_same(subject: &Subject) -> Seen {
    let alone = subject.vector(&texts()[0]).await?;
    let mut many: Vec<String> =
        crate::parity::texts().into_iter().filter(|text| (20..400).contains(&text.len())).take(30).collect();
    many.insert(11, texts()[0].clone());
    let among = subject.vectors(&many).await?;
    subject.same("alone and among 30 others", &alone, &among[11])?;
    let apart = alone.iter().zip(&among[11]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    fine(format!("largest difference {apart:.1e}"))
}

async fn again_is_the_same(subject: &Subject) -> Seen {
    let (one, other) = (subject.vectors(&texts()).await?, subject.vectors(&texts()).await?);
    for (one, other) in one.iter().zip(&other) {
        subject.same("asked twice", one, other)?;
    }
    fine("")
}

async fn numbers_are_finite(subject: &Subject) -> Seen {
    let vectors = subject.vectors(&texts()).await?;
    if vectors.iter().flatten().all(|number| number.is_finite()) { fine("") } else { Err("NaN or infinity".into()) }
}

async fn vectors_are_of_unit_length(subject: &Subject) -> Seen {
    let rows = subject.vectors(&texts()).await?;
    let off = em_stats::vectors::off_unit_length(&rows.concat(), rows[0].len());
    match (off <= em_stats::vectors::LENGTH_TOLERANCE, subject.settings.normalized) {
        (true, true) => fine(format!("off by {off:.1e} at most")),
        (false, false) => fine(format!("not normalised, as asked (off by {off:.2})")),
        (false, true) => Err(format!("lengths are off 1 by {off:.3}: not normalised")),
        (true, false) => Err("normalised, though --no-normalize was given".into()),
    }
}

async fn usage_counts_tokens(subject: &Subject) -> Seen {
    let tokens =
        async |text: &str| subject.ask(text).await.map(|answer| answer.json.pointer("/usage/total_tokens").and_then(Value::as_u64));
    match (tokens("one").await?, tokens("one two three four five six seven").await?) {
        (Some(few), Some(many)) if 0 < few && few < many => fine(format!("{few} and {many} tokens")),
        (None | Some(0), _) => differs(Difference::NoUsage, ""),
        (few, many) => Err(format!("a short text counts {few:?} tokens, a longer one {many:?}")),
    }
}

async fn base64_is_the_same(subject: &Subject) -> Seen {
    let fields = json!({"encoding_format": "base64"});
    let answer = subject.ask_with(texts()[0].as_str(), fields.as_object().unwrap_or(&Map::new())).await?;
    let encoded = answer.json.pointer("/data/0/embedding").is_some_and(Value::is_string);
    if !encoded {
        return differs(Difference::NoBase64, format!("status {}", answer.status));
    }
    subject.same("base64 and numbers", &answer.vectors()?[0], &subject.vector(&texts()[0]).await?)?;
    fine("")
}

async fn token_ids_are_the_same(subject: &Subject) -> Seen {
    let text = &texts()[0];
    let Some(ids) = ids_of(subject, text).await? else {
        let answer = subject.ask(json!([[101, 1996, 2314, 102]])).await?;
        return match answer.status {
            200 => Ok(Finding::Skipped("taken, but not compared: the server has no /tokenize; give --tokenizer".into())),
            400..=499 => differs(Difference::NoTokenIds, format!("status {}", answer.status)),
            _ => Err(answer.told()),
        };
    };
    let answer = subject.ask(json!([ids, ids])).await?;
    if (400..500).contains(&answer.status) {
        return differs(Difference::NoTokenIds, format!("status {}", answer.status));
    }
    let right = subject.vector(text).await?;
    for vector in answer.vectors()? {
        subject.same("token ids and text", &vector, &right)?;
    }
    let single = subject.ask(json!(ids)).await?.vectors()?;
    if single.len() != 1 {
        return Err(format!("a list of {} ids gave {} vectors, not one", ids.len(), single.len()));
    }
    subject.same("one list of ids and text", &single[0], &right)?;
    fine(format!("{} ids", ids.len()))
}

/// From the tokenizer that was given, else from the server's own route.
async fn ids_of(subject: &Subject, text: &str) -> Result<Option<Vec<u32>>, String> {
    if let Some(path) = &subject.settings.tokenizer {
        let mut tokenizer = tokenizers::Tokenizer::from_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
        tokenizer.with_padding(None);
        let encoded = tokenizer.encode(text, true).map_err(|error| error.to_string())?;
        return Ok(Some(encoded.get_ids().to_vec()));
    }
    for body in
        [json!({"model": subject.model, "prompt": text}), json!({"inputs": text}), json!({"model": subject.model, "input": text})]
    {
        let answer = subject.post("/tokenize", &body).await?;
        if answer.status == 200 {
            return Ok(ids(&answer.json));
        }
    }
    Ok(None)
}

/// The first list of numbers, or of objects with an `id`, however deep.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().or_else(|| value.get("id")?.as_u64()).and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| id(item).is_some()) => items.iter().map(id).collect(),
        Value::Array(items) => items.iter().find_map(ids),
        Value::Object(fields) => ["tokens", "ids", "token_ids", "data"].iter().find_map(|name| ids(fields.get(*name)?)),
        _ => None,
    }
}

async fn dimensions_shorten_or_are_refused(subject: &Subject) -> Seen {
    let whole = subject.vector(&texts()[0]).await?;
    let answer = subject.ask_with(texts()[0].as_str(), json!({"dimensions": 8}).as_object().unwrap_or(&Map::new())).await?;
    if (400..500).contains(&answer.status) {
        return differs(Difference::NoDimensions, format!("status {}", answer.status));
    }
    let short = answer.vectors()?.remove(0);
    if short.len() == whole.len() {
        return differs(Difference::IgnoresDimensions, "");
    }
    if short.len() != 8 {
        return Err(format!("{} numbers, 8 were asked for", short.len()));
    }
    subject.same("the first 8 numbers", &short, &whole[..8])?;
    let length = short.iter().map(|number| number * number).sum::<f32>().sqrt();
    if subject.settings.normalized && (length - 1.0).abs() > 0.01 {
        Err(format!("of length {length}: not normalised anew"))
    } else {
        fine("")
    }
}

async fn user_is_passed_over(subject: &Subject) -> Seen {
    let answer = subject.ask_with(texts()[0].as_str(), json!({"user": "somebody"}).as_object().unwrap_or(&Map::new())).await?;
    subject.same("with a user and without", &answer.vectors()?[0], &subject.vector(&texts()[0]).await?)?;
    fine("")
}

/// `/embed`, where the kind has one.
async fn the_own_route_is_the_same(subject: &Subject) -> Seen {
    use em_api::spec::BackendKind::{Huggingface, Openai, Ort, Tei, Vllm};
    let texts = texts();
    let rows = match subject.kind {
        Ort | Huggingface => {
            let answer = subject.post("/embed", &json!({"texts": texts})).await?;
            let fields = ["embeddings", "model", "num_embeddings", "embedding_dim"];
            if let Some(missing) = fields.into_iter().find(|name| answer.json.get(name).is_none()) {
                return Err(format!("`{missing}` is missing: {}", answer.told()));
            }
            answer.json.get("embeddings").cloned()
        }
        Tei => Some(subject.post("/embed", &json!({"inputs": texts})).await?.json),
        Vllm | Openai => return Ok(Finding::Skipped("this kind has no route beside /v1/embeddings that is measured".into())),
    };
    let rows = rows.as_ref().and_then(Value::as_array).ok_or("no list of vectors")?;
    let rows: Vec<Vec<f32>> = rows.iter().map(floats).collect::<Result<_, _>>()?;
    let right = subject.vectors(&texts).await?;
    if rows.len() != right.len() {
        return Err(format!("{} vectors for {} texts", rows.len(), right.len()));
    }
    for (one, other) in rows.iter().zip(&right) {
        subject.same("/embed and /v1/embeddings", one, other)?;
    }
    fine("")
}
