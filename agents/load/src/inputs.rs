//! What all stretches of load of a plan share: texts, trace, HTTP client.

use std::sync::Arc;

use em_api::measurement::DatasetReport;
use reqwest::Client;

use crate::dataset::{self, Texts};
use crate::plan::Shape;
use crate::trace::Trace;
use crate::{Key, LoadError, LoadPlan, exchange};

#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) texts: Arc<Texts>,
    /// Of all texts that were loaded.
    pub(crate) dataset: DatasetReport,
    pub(crate) trace: Option<Arc<Trace>>,
    pub(crate) client: Client,
    pub(crate) key: Option<Key>,
}

impl Inputs {
    pub(crate) async fn load(plan: &LoadPlan) -> Result<Self, LoadError> {
        let (source, range, shape) = (plan.dataset.clone(), plan.text_tokens, plan.shape.clone());
        let loaded = tokio::task::spawn_blocking(move || -> Result<_, LoadError> {
            let texts = dataset::load(&source)?;
            let texts = match range {
                Some(range) => texts.of_length(range)?,
                None => texts,
            };
            let trace = match shape {
                Some(Shape::Trace { path, rate }) => {
                    let trace = Trace::load(&path)?;
                    Some(Arc::new(rate.map_or_else(|| trace.clone(), |rate| trace.stretched_to(rate))))
                }
                _ => None,
            };
            Ok((texts, trace))
        });
        // The blocking task can only fail to be joined by a panic, which is ours to pass on.
        let (texts, trace) = loaded.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let dataset = texts.report();
        let key = Key::read(plan.api_key_file.as_deref(), plan.api_key_env.as_deref())?;
        Ok(Self { texts: Arc::new(texts), dataset, trace, client: exchange::client(key.as_ref())?, key })
    }
}
