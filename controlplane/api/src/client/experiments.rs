//! Calls that people make about experiments (create, read, change, delete) and about the cluster. What they stream or download is in
//! [`super::files`].

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{Client, ClientError};
use crate::capsule::Capsule;
use crate::cluster::Cluster;
use crate::experiment::{Created, Experiment, ExperimentList, ExperimentPatch, SpecPatch};
use crate::problem::Problem;
use crate::results::Results;
use crate::session::SessionLink;
use crate::spec::Desired;
use crate::status::{EventList, JobList, TrialList};

/// Many measurements with their series.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// An experiment as it is posted. Text goes out as it was written, so that the server's errors speak of it.
#[derive(Clone, Debug)]
pub enum Body {
    Json(Value),
    JsonText(Vec<u8>),
    Yaml(Vec<u8>),
}

/// What became of a `POST /experiments`.
#[derive(Clone, Debug, PartialEq)]
pub struct Creation {
    /// False: an equal experiment of that name was there already (or it was a dry run), nothing new is stored.
    pub new: bool,
    pub answer: Created,
}

/// Which experiments to list, and how many at a time.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// As in Kubernetes: `team=search,stage!=test,tier in (a,b),!draft`.
    pub label_selector: Option<String>,
    /// `status.phase=Running,metadata.owner!=ann`; also `metadata.name` and `spec.model.id`.
    pub field_selector: Option<String>,
    pub limit: Option<u32>,
    /// The cursor of the page before.
    pub next: Option<String>,
}

impl Client {
    /// Errors: a problem with status 422 carries one error a field; 409 when the name is taken by another spec.
    pub async fn create_experiment(&self, body: Body, dry_run: bool) -> Result<Creation, ClientError> {
        let path = if dry_run { "experiments?dryRun=true" } else { "experiments" };
        self.created(with_body(self.request(Method::POST, path), body)).await
    }

    /// Creates under a key (a ULID, for example) of this one wish: sent again with the same key after a lost answer, it makes nothing
    /// new, with `generateName` neither. Errors: also 422 when the key came with another body, 409 `idempotency_in_flight`.
    pub async fn create_once(&self, body: Body, key: &str) -> Result<Creation, ClientError> {
        let request = self.request(Method::POST, "experiments").header("Idempotency-Key", key);
        self.created(with_body(request, body)).await
    }

    async fn created(&self, request: RequestBuilder) -> Result<Creation, ClientError> {
        let response = self.send(request).await?;
        let new = response.status() == StatusCode::CREATED;
        let url = response.url().to_string();
        let answer = response.json().await.map_err(|source| ClientError::Answer { url, source })?;
        Ok(Creation { new, answer })
    }

    /// Stores nothing. What a run without a server needs in folder `dir` (absolute, as the compute nodes see it): `script` and `plan`
    /// are set in the answer.
    pub async fn standalone(&self, body: Body, dir: &str) -> Result<Created, ClientError> {
        let path = with_query("experiments", &[("dryRun", &Some("true".to_owned())), ("standalone", &Some(dir.to_owned()))]);
        self.json(with_body(self.request(Method::POST, &path), body)).await
    }

    /// Takes in a run without a server: a zip of its folder. `name`: instead of the experiment's own.
    pub async fn import(&self, zip: Vec<u8>, name: Option<&str>) -> Result<Creation, ClientError> {
        let path = with_query("import", &[("name", &name.map(str::to_owned))]);
        let request = self.request(Method::POST, &path).header("Content-Type", "application/zip").body(zip);
        self.created(request.timeout(IMPORT_TIMEOUT)).await
    }

    pub async fn experiment(&self, name: &str) -> Result<Experiment, ClientError> {
        self.get(&experiment_path(name, "")?).await
    }

    /// One page.
    pub async fn experiments(&self, options: &ListOptions) -> Result<ExperimentList, ClientError> {
        let limit = options.limit.map(|limit| limit.to_string());
        let pairs = [
            ("labelSelector", &options.label_selector),
            ("fieldSelector", &options.field_selector),
            ("limit", &limit),
            ("continue", &options.next),
        ];
        self.get(&with_query("experiments", &pairs)).await
    }

    /// All pages from `options.next` on, one after another.
    pub async fn all_experiments(&self, mut options: ListOptions) -> Result<Vec<Experiment>, ClientError> {
        let mut all = Vec::new();
        loop {
            let page = self.experiments(&options).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => options.next = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// `patch`: an [`ExperimentPatch`], or a JSON object that the server shall judge as it is.
    pub async fn patch_experiment(&self, name: &str, patch: &impl Serialize) -> Result<Experiment, ClientError> {
        let request = self.request(Method::PATCH, &experiment_path(name, "")?).json(patch);
        self.json(request.header("Content-Type", "application/merge-patch+json")).await
    }

    /// Cancel, suspend, resume: what the user wants; the server gets there.
    pub async fn set_desired(&self, name: &str, desired: Desired) -> Result<Experiment, ClientError> {
        let spec = SpecPatch { desired: Some(desired), ..SpecPatch::default() };
        self.patch_experiment(name, &ExperimentPatch { spec: Some(spec), ..ExperimentPatch::default() }).await
    }

    /// Cancels, then removes when no job is left; the answer comes before that.
    pub async fn delete_experiment(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &experiment_path(name, "")?)).await.map(drop)
    }

    pub async fn trials(&self, name: &str) -> Result<TrialList, ClientError> {
        self.get(&experiment_path(name, "/trials")?).await
    }

    pub async fn jobs(&self, name: &str) -> Result<JobList, ClientError> {
        self.get(&experiment_path(name, "/jobs")?).await
    }

    pub async fn events(&self, name: &str) -> Result<EventList, ClientError> {
        self.get(&experiment_path(name, "/events")?).await
    }

    pub async fn results(&self, name: &str) -> Result<Results, ClientError> {
        self.get(&experiment_path(name, "/results")?).await
    }

    pub async fn capsule(&self, name: &str) -> Result<Capsule, ClientError> {
        self.get(&experiment_path(name, "/capsule")?).await
    }

    /// Errors: 503 while Slurm has not answered since the server started.
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        self.get("cluster").await
    }

    /// A link that opens the dashboard in a browser, once.
    pub async fn session_link(&self) -> Result<SessionLink, ClientError> {
        self.json(self.request(Method::POST, "sessions/links")).await
    }
}

fn with_body(request: RequestBuilder, body: Body) -> RequestBuilder {
    match body {
        Body::Json(value) => request.json(&value),
        Body::JsonText(bytes) => request.header("Content-Type", "application/json").body(bytes),
        Body::Yaml(bytes) => request.header("Content-Type", "application/yaml").body(bytes),
    }
}

/// `experiments/{name}{rest}`. A text that cannot be a name is answered here, as the server would: in an address it could mean
/// another resource (`..`, `a/b`).
pub(super) fn experiment_path(name: &str, rest: &str) -> Result<String, ClientError> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !plain {
        let mut shown = String::new();
        for letter in name.chars().take(80) {
            // Escapes control characters: the text ends up on a terminal.
            let _ = write!(shown, "{}", letter.escape_debug());
        }
        let detail = format!("there is no experiment `{shown}`: names hold letters, digits and `-` only");
        return Err(ClientError::Problem(Box::new(Problem::new(404, "not_found", "Not Found", detail))));
    }
    Ok(format!("experiments/{name}{rest}"))
}

/// `path?key=value&…`, escaped; pairs without a value are left out.
pub(super) fn with_query(path: &str, pairs: &[(&str, &Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_to_another_resource() {
        assert_eq!(experiment_path("demo-1", "/trials").expect("a plain name"), "experiments/demo-1/trials");
        for name in ["", "..", "../tokens", "a/b", "a?dryRun=true", "a%2f", "a b", "\u{1b}[2J"] {
            let refused = experiment_path(name, "").expect_err(name);
            assert_eq!(refused.problem().map(|problem| problem.status), Some(404), "{name:?}");
            assert!(!refused.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_selector_is_escaped_in_the_query() {
        let pairs = [("labelSelector", &Some("team in (a,b)&limit=1".to_owned())), ("limit", &None)];
        assert_eq!(with_query("experiments", &pairs), "experiments?labelSelector=team+in+%28a%2Cb%29%26limit%3D1");
        assert_eq!(with_query("experiments", &[("limit", &None)]), "experiments");
    }
}
