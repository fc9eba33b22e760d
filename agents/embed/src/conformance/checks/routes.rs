//! What a server says of itself.

use serde_json::Value;

use super::{Check, Difference, Seen, Subject, checks, differs, fine};

pub(super) fn all() -> Vec<Check> {
    checks![
        health_answers,
        models_name_the_model,
        metrics_are_prometheus,
        metrics_grow_with_work,
        unknown_route_is_404,
        get_of_embeddings_is_refused
    ]
}

async fn health_answers(subject: &Subject) -> Seen {
    let answer = subject.get("/health").await?;
    match answer.status {
        200 => fine(""),
        401 | 404 if subject.kind == em_api::spec::BackendKind::Openai => {
            fine(format!("no /health ({}), as services elsewhere", answer.status))
        }
        _ => Err(answer.told()),
    }
}

async fn models_name_the_model(subject: &Subject) -> Seen {
    let answer = subject.get("/v1/models").await?;
    if answer.status == 404 {
        return differs(Difference::NoModelList, "");
    }
    let names = answer.json.get("data").and_then(Value::as_array).ok_or_else(|| format!("no `data`: {}", answer.told()))?;
    let names: Vec<&str> = names.iter().filter_map(|model| model.get("id")?.as_str()).collect();
    if names.contains(&subject.model.as_str()) {
        fine(names.join(", "))
    } else {
        Err(format!("{} is not among {names:?}", subject.model))
    }
}

async fn metrics_are_prometheus(subject: &Subject) -> Seen {
    // Some have nothing to show before their first request.
    subject.vector("A first text.").await?;
    let answer = subject.get("/metrics").await?;
    if answer.status != 200 {
        return differs(Difference::NoMetrics, format!("status {}", answer.status));
    }
    let samples = samples(&answer.text)?;
    if samples.is_empty() { Err("no sample".into()) } else { fine(format!("{} samples", samples.len())) }
}

async fn metrics_grow_with_work(subject: &Subject) -> Seen {
    let before = subject.get("/metrics").await?;
    if before.status != 200 {
        return differs(Difference::NoMetrics, format!("status {}", before.status));
    }
    subject.vector("A text to be counted.").await?;
    let counters = |text: &str| -> Result<f64, String> {
        // Counters and counts of histograms; process CPU time grows by itself.
        let counts = |name: &str| {
            (name.contains("_total") || name.contains("_count")) && !name.starts_with("process_") && !name.starts_with("python_")
        };
        Ok(samples(text)?.into_iter().filter(|(name, _)| counts(name)).map(|(_, value)| value).sum())
    };
    let before = counters(&before.text)?;
    // Some servers count a moment after they answered.
    for _ in 0..20 {
        let after = counters(&subject.get("/metrics").await?.text)?;
        if after > before {
            return fine("");
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    Err("no counter grew with a request".into())
}

/// `name{labels} value` lines. Errors: the first line that is none.
fn samples(text: &str) -> Result<Vec<(String, f64)>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let broken = || format!("no line of Prometheus: {}", line.chars().take(100).collect::<String>());
            let (name, value) = match line.rfind('}') {
                Some(end) => (&line[..=end], &line[end + 1..]),
                None => line.split_once(' ').ok_or_else(broken)?,
            };
            let value = value.split_whitespace().next().ok_or_else(broken)?;
            let value: f64 = value.replace("Inf", "inf").parse().map_err(|_| broken())?;
            Ok((name.to_owned(), if value.is_finite() { value } else { 0.0 }))
        })
        .collect()
}

async fn unknown_route_is_404(subject: &Subject) -> Seen {
    let answer = subject.get("/no/such/route").await?;
    if answer.status == 404 { fine("") } else { Err(answer.told()) }
}

async fn get_of_embeddings_is_refused(subject: &Subject) -> Seen {
    fine(subject.get("/v1/embeddings").await?.refused()?)
}
