use super::*;
use crate::JobOptions;
use crate::rest::{RestEndpoint, RestSettings};

fn job(options: JobOptions) -> JobScript {
    JobScript {
        name: "em-1".to_owned(),
        comment: "a".to_owned(),
        options,
        job_dir: "/shared/em-1".into(),
        modules: Vec::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        agent: vec!["agent".to_owned()],
    }
}

fn fields(options: JobOptions, version: &str) -> Result<Value, Unsupported> {
    let settings = RestSettings::new(RestEndpoint::Url("http://localhost".to_owned()), "alice");
    let mut body = body(&job(options), &settings, false, version.parse().expect("a version"))?;
    assert!(body["script"].as_str().is_some_and(|script| script.starts_with("#!/bin/bash")));
    Ok(body["job"].take())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn all() -> JobOptions {
    JobOptions {
        partition: some("gpu"),
        gres: some("gpu:1,shard:2"),
        gpus: some("a100:2"),
        gpus_per_node: some("1"),
        nodes: Some(2),
        cpus_per_task: Some(4),
        memory: some("32G"),
        time_minutes: Some(90),
        begin: some("2031-01-02T03:04:05"),
        constraint: some("fast"),
        nodelist: some("node[1,3]"),
        exclude: some("node2"),
        exclusive: true,
        nice: Some(-5),
        mail_type: some("END,TIME_LIMIT_90"),
        container: some("/bundle"),
        extra_args: ["--ntasks=2", "--hold", "--time-min=1:00:00", "--gpus-per-task=1"].map(str::to_owned).to_vec(),
        ..JobOptions::default()
    }
}

#[test]
fn options_are_said_in_the_words_of_the_old_versions() {
    let mut fields = fields(all(), "v0.0.38").expect("carried");
    fields["environment"] = Value::Null;
    insta::assert_json_snapshot!(fields);
}

#[test]
fn options_are_said_in_the_words_of_the_new_versions() {
    let mut fields = fields(all(), "v0.0.45").expect("carried");
    fields["environment"] = Value::Null;
    insta::assert_json_snapshot!(fields);
}

#[test]
fn versions_between_differ_in_few_words() {
    let v39 = fields(all(), "v0.0.39").expect("carried");
    assert_eq!((&v39["tres_per_job"], &v39["tres_per_task"]), (&json!("gres:gpu:a100:2"), &json!("gres:gpu:1")));
    assert!(v39["begin_time"].is_i64(), "v0.0.39 reads no times");
    let v40 = fields(all(), "v0.0.40").expect("carried");
    assert_eq!((&v40["tres_per_job"], &v40["tres_per_task"]), (&json!("gres/gpu:a100:2"), &json!("gres/gpu:1")));
    let v41 = fields(all(), "v0.0.41").expect("carried");
    assert_eq!((&v41["tres_per_task"], &v41["tres_bind"]), (&json!("gres/gpu=1"), &json!("gres/gpu:per_task:1")));
    let v36 = fields(JobOptions { container: None, ..all() }, "v0.0.36").expect("carried");
    assert_eq!(v36["time minimum"], "1:00:00");
}

#[test]
fn what_a_version_lacks_is_refused_by_name() {
    let refused = |options: JobOptions, version: &str| fields(options, version).expect_err("refused").0;
    let extra = |arg: &str| JobOptions { extra_args: vec![arg.to_owned()], ..JobOptions::default() };
    assert!(refused(all(), "v0.0.36").contains("--container"));
    assert!(refused(extra("--priority=5"), "v0.0.36").contains("v0.0.37"));
    for version in ["v0.0.36", "v0.0.38", "v0.0.39", "v0.0.45"] {
        assert!(refused(extra("--something-new=1"), version).contains("--something-new"), "{version}");
    }
    assert!(refused(extra("--gpu-freq=high"), "v0.0.45").contains("--gpu-freq"));
    // Forms that slurmrestd would drop, or that we cannot read.
    assert!(refused(JobOptions { mail_type: some("FOO"), ..JobOptions::default() }, "v0.0.45").contains("--mail-type"));
    assert!(refused(JobOptions { memory: some("a lot"), ..JobOptions::default() }, "v0.0.45").contains("--mem"));
    assert!(refused(JobOptions { begin: some("teatime"), ..JobOptions::default() }, "v0.0.39").contains("--begin"));
    assert!(refused(extra("--ntasks=two"), "v0.0.45").contains("--ntasks"));
}

#[test]
fn the_environment_is_a_short_list_and_nobody_elses_home() {
    let v38 = fields(JobOptions { cpus_per_task: Some(4), ..JobOptions::default() }, "v0.0.38").expect("carried");
    let environment = v38["environment"].as_object().expect("a dictionary");
    assert_eq!((&environment["USER"], &environment["SLURM_CPUS_PER_TASK"]), (&json!("alice"), &json!("4")));
    assert_eq!(environment["SLURM_SUBMIT_DIR"], "/shared/em-1");
    assert!(environment.contains_key("PATH") && !environment.contains_key("HOME"));
    assert!(!environment.keys().any(|name| name.starts_with("CARGO")), "{environment:?}");
    let v45 = fields(JobOptions::default(), "v0.0.45").expect("carried");
    assert!(v45["environment"].as_array().expect("a list").contains(&json!("USER=alice")));
}
