//! `emctl rerun`: posts what an experiment was, as a new one: the same complete spec, with the revision, the texts and the seed that
//! were pinned then.

use clap::Args;
use em_api::client::Client;
use em_api::client::experiments::Body;
use em_api::experiment::Experiment;
use em_api::spec::Desired;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::failure::Failure;
use crate::submit::{Follow, carry_out};

/// Which experiment a repeated one repeats.
pub(crate) const RERUN_OF: &str = "rerun-of";
/// The server adds five characters, and a name has 63 at most.
const LONGEST_PREFIX: usize = 58;

const EXAMPLES: &str = "\
Examples:
  emctl rerun demo                          a new experiment demo-xxxxx with the same spec
  emctl rerun demo --name demo-tuesday --wait --out results
  emctl rerun demo --dry-run                what would be posted, with its job script

The annotation `rerun-of` of the new one names the old one. Labels are taken along. To change something of it:
  emctl get demo -o yaml > demo.yaml        edit it, with a name of its own, and `emctl submit -f demo.yaml`";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RerunArgs {
    /// The experiment to repeat, ended or not
    experiment: String,
    /// Name of the new one [default: the old one's and five characters]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    follow: Follow,
}

pub(crate) async fn run(client: &Client, args: RerunArgs, format: Format) -> Result<(), Failure> {
    let held = client.experiment(&args.experiment).await?;
    carry_out(client, Body::Json(again(held, args.name)), &args.follow, format).await
}

/// The body of the new one. An experiment that is suspended or cancelled runs again.
fn again(held: Experiment, name: Option<String>) -> Value {
    let Experiment { api_version, kind, mut metadata, mut spec, .. } = held;
    spec.desired = Desired::Run;
    metadata.annotations.insert(RERUN_OF.to_owned(), format!("{} {}", metadata.name, metadata.uid));
    let prefix = metadata.name.get(..LONGEST_PREFIX - 1).unwrap_or(&metadata.name).trim_end_matches('-');
    let (field, name) = name.map_or_else(|| ("generateName", format!("{prefix}-")), |name| ("name", name));
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {field: name, "labels": metadata.labels, "annotations": metadata.annotations},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::experiment;

    #[test]
    fn the_spec_is_the_same_but_for_the_wish_to_stop() {
        let mut held = experiment("Cancelled");
        held.spec.desired = Desired::Cancelled;
        held.metadata.labels.insert("team".to_owned(), "search".to_owned());
        let body = again(held.clone(), None);
        held.spec.desired = Desired::Run;
        assert_eq!(body["spec"], json!(held.spec));
        assert_eq!(body["metadata"]["generateName"], format!("{}-", held.metadata.name));
        assert_eq!(body["metadata"]["labels"], json!({"team": "search"}));
        let of = format!("{} {}", held.metadata.name, held.metadata.uid);
        assert_eq!(body["metadata"]["annotations"][RERUN_OF], json!(of));
        assert_eq!(body["status"], Value::Null);
    }

    #[test]
    fn a_long_name_leaves_room_for_what_the_server_adds() {
        let mut held = experiment("Succeeded");
        held.metadata.name = "a".repeat(63);
        assert_eq!(again(held.clone(), None)["metadata"]["generateName"].as_str().map(str::len), Some(LONGEST_PREFIX));
        assert_eq!(again(held, Some("other".to_owned()))["metadata"]["name"], "other");
    }
}
