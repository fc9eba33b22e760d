//! The corpus of hostile strings of em-slurm, posted by a user in every field that carries text: refused with its path, or a
//! script comes of it that em-slurm finds sound (and whose strings its own tests follow through bash and sbatch).

use em_api::{AttemptId, ExperimentUid, ShardId};
use em_slurm::JobScript;
use serde_json::{Value, json};

use super::corpus::hostile;
use super::{Admitted, admit, admitted, set, small};
use crate::admit::NameChoice;
use crate::job::{self, JobSettings};

type Post = fn(&str) -> (&'static str, Value);

/// Each place of `spec.slurm` and `metadata` that carries text, and the path of the error that refuses it.
const FIELDS: [(&str, Post); 27] = [
    ("metadata.name", |text| ("/metadata/name", json!(text))),
    ("metadata.generateName", |text| ("/metadata", json!({"generateName": text}))),
    ("metadata.labels", |text| ("/metadata/labels", json!({"team": text}))),
    ("metadata.labels", |text| ("/metadata/labels", json!({text: "x"}))),
    ("metadata.annotations", |text| ("/metadata/annotations", json!({"note": text}))),
    ("spec.slurm.partition", |text| ("/spec/slurm/partition", json!(text))),
    ("spec.slurm.gres", |text| ("/spec/slurm/gres", json!(text))),
    ("spec.slurm.gpus", |text| ("/spec/slurm/gpus", json!(text))),
    ("spec.slurm.gpusPerNode", |text| ("/spec/slurm/gpusPerNode", json!(text))),
    ("spec.slurm.memory", |text| ("/spec/slurm/memory", json!(text))),
    ("spec.slurm.time", |text| ("/spec/slurm/time", json!(text))),
    ("spec.slurm.account", |text| ("/spec/slurm/account", json!(text))),
    ("spec.slurm.qos", |text| ("/spec/slurm/qos", json!(text))),
    ("spec.slurm.constraint", |text| ("/spec/slurm/constraint", json!(text))),
    ("spec.slurm.reservation", |text| ("/spec/slurm/reservation", json!(text))),
    ("spec.slurm.nodelist", |text| ("/spec/slurm/nodelist", json!(text))),
    ("spec.slurm.exclude", |text| ("/spec/slurm/exclude", json!(text))),
    ("spec.slurm.dependency", |text| ("/spec/slurm/dependency", json!(text))),
    ("spec.slurm.begin", |text| ("/spec/slurm/begin", json!(text))),
    ("spec.slurm.licenses", |text| ("/spec/slurm/licenses", json!(text))),
    ("spec.slurm.mailType", |text| ("/spec/slurm/mailType", json!(text))),
    ("spec.slurm.mailUser", |text| ("/spec/slurm/mailUser", json!(text))),
    ("spec.slurm.container", |text| ("/spec/slurm/container", json!(format!("apptainer:{text}")))),
    ("spec.slurm.modules", |text| ("/spec/slurm/modules", json!([text]))),
    ("spec.slurm.env", |text| ("/spec/slurm/env", json!({"VALUE": text}))),
    ("spec.slurm.env", |text| ("/spec/slurm/env", json!({text: "value"}))),
    ("spec.slurm.extraArgs", |text| ("/spec/slurm/extraArgs", json!([text, format!("--wckey={text}")]))),
];

fn script(admitted: &Admitted) -> JobScript {
    let settings = JobSettings {
        job_dir: "/jobs".into(),
        store_dir: "/store".into(),
        agent: "/opt/em/em-agent".into(),
        advertise: "http://127.0.0.1:8080".to_owned(),
        claim_timeout: em_api::HumanDuration::from_secs(120),
    };
    let name = match &admitted.name {
        NameChoice::Given(name) => name.clone(),
        NameChoice::Generate(prefix) => format!("{prefix}abcde"),
    };
    let nil = ulid::Ulid::nil();
    job::script(&settings, (&name, ExperimentUid(nil)), &admitted.spec, (ShardId(nil), AttemptId(nil)), "em-1a2b3c4d-01", None)
}

#[test]
fn a_hostile_string_is_refused_by_its_path_or_makes_a_sound_script() {
    let (mut refused, mut sound) = (0, 0);
    for text in hostile("/canary") {
        for (path, post) in FIELDS {
            let mut body = small();
            let (pointer, value) = post(&text);
            set(&mut body, pointer, value);
            match admit(&body) {
                Err(errors) => {
                    assert!(errors.iter().all(|error| error.path.starts_with(path)), "{path} {text:?}: {errors:?}");
                    refused += 1;
                }
                Ok(admitted) => {
                    let script = script(&admitted);
                    assert_eq!(script.validate(), [], "{path} {text:?}");
                    sound += 1;
                }
            }
        }
    }
    assert!(refused > 1_000 && sound > 300, "{refused} refused, {sound} sound");
}

/// They are code by their nature; their place in the script is behind all that sbatch reads.
#[test]
fn setup_lines_never_reach_what_sbatch_reads() {
    let header =
        |script: JobScript| script.render().lines().take_while(|line| !line.starts_with("em_dir=")).collect::<Vec<_>>().join("\n");
    let plain = header(script(&admitted(&small())));
    assert!(plain.contains("#SBATCH --comment=\"em experiment=small shard="), "{plain}");
    for text in hostile("/canary") {
        let mut body = small();
        set(&mut body, "/spec/slurm/setup", json!([text]));
        if let Ok(admitted) = admit(&body) {
            assert_eq!(header(script(&admitted)), plain, "{text:?}");
        }
    }
}

#[test]
fn what_sbatch_would_misread_is_told_with_its_cure() {
    for (field, value, words) in [
        (
            "gres",
            json!("gpu:l40s:0"),
            "is no list of generic resources; write for example gpu:1 or gpu:l40s:2,shard:4, counts above 0",
        ),
        ("gres", json!("gpu:"), "is no list of generic resources"),
        ("gpus", json!("l40s:0"), "is not a number of GPUs; write for example 1 or l40s:1, above 0"),
        ("gpusPerNode", json!("a b:1"), "is not a number of GPUs"),
        ("container", json!("debian:12"), "is no container: write apptainer:IMAGE"),
        ("mailUser", json!("-S smtp=x"), "must not begin with `-`"),
        ("env", json!({"SLURM_JOB_ID": "1"}), "SLURM_JOB_ID is set by Slurm, by bash or by the job script itself"),
        ("extraArgs", json!(["--ntasks=1", "-J x"]), "must be a long option such as --ntasks=1"),
    ] {
        let mut body = small();
        set(&mut body, &format!("/spec/slurm/{field}"), value.clone());
        let errors = admit(&body).expect_err("refused");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let error = &errors[0];
        assert!(error.path.starts_with(&format!("spec.slurm.{field}")) && error.message.contains(words), "{error:?}");
    }
    for gres in ["gpu", "gpu:1", "gpu:l40s:1", "gpu:l40s:2,gpu:a100:1,shard:4", "gres/gpu:1", "gpu:nvidia_a100_1g.5gb:1", "mem:4G"]
    {
        let mut body = small();
        set(&mut body, "/spec/slurm/gres", json!(gres));
        admitted(&body);
    }
}
