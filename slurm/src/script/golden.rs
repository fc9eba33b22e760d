//! Whole scripts, for reading. Ids and paths are made up.

use super::*;

fn script(job_dir: &str) -> JobScript {
    let plan = format!("{job_dir}/plan.json");
    JobScript {
        name: "em-1a2b3c4d-01J".to_owned(),
        comment: "em experiment=demo shard=1 attempt=1".to_owned(),
        options: JobOptions::default(),
        job_dir: PathBuf::from(job_dir),
        modules: Vec::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        agent: ["/opt/em/em-agent", "run", "--plan", &plan].map(str::to_owned).to_vec(),
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// Every field is named: a new one must come here too.
#[test]
fn a_script_with_every_field() {
    let mut script = script("/shared/jobs/a b");
    script.options = JobOptions {
        partition: text("gpu"),
        gres: text("gpu:l40s:1"),
        gpus: text("l40s:1"),
        gpus_per_node: text("1"),
        nodes: Some(1),
        cpus_per_task: Some(8),
        memory: text("32G"),
        time_minutes: Some(240),
        account: text("search"),
        qos: text("normal"),
        constraint: text("avx512 # \"new\""),
        reservation: text("maintenance-free"),
        nodelist: text("gpu[01-04]"),
        exclude: text("gpu03"),
        exclusive: true,
        dependency: text("afterok:4711?singleton"),
        begin: text("now+1hour"),
        nice: Some(-10),
        requeue: true,
        licenses: text("matlab:1,ansys@db:2"),
        mail_type: text("END,FAIL"),
        mail_user: text("ada@example.org"),
        container: text("/shared/bundles/em"),
        container_mounts: vec![PathBuf::from("/shared/store")],
        extra_args: vec!["--ntasks=1".to_owned(), "--wckey=two words \\ \"quoted\"".to_owned()],
    };
    script.modules = vec!["anaconda3".to_owned(), "cuda/12.1".to_owned()];
    script.setup = vec!["ulimit -n 65536".to_owned(), "if true; then\r\n  echo ready\nfi".to_owned()];
    script.env = [("HF_HUB_OFFLINE", "1"), ("PROMPT", "it's $5\nnow")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(script.validate(), []);
    insta::assert_snapshot!(script.render());
}

#[test]
fn a_script_with_nothing_but_an_agent() {
    let script = script("/shared/jobs/a");
    assert_eq!(script.validate(), []);
    insta::assert_snapshot!(script.render());
}

/// What differs from the same script without a container.
fn differs(container: &str, gres: Option<&str>) -> String {
    let mut script = script("/shared/jobs/a");
    script.options.gres = gres.map(str::to_owned);
    let plain: Vec<String> = script.render().lines().map(str::to_owned).collect();
    script.options.container = text(container);
    script.options.container_mounts = vec![PathBuf::from("/shared/my store"), Path::new("/opt/em").to_owned()];
    assert_eq!(script.validate(), []);
    let lines = script.render();
    lines.lines().filter(|line| !plain.iter().any(|plain| plain == line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_agent_in_apptainer() {
    insta::assert_snapshot!(differs("/images/e m.sif", Some("gpu:l40s:1")), @r#"
    # What runs the container.
    em_container=$(command -v apptainer || command -v singularity) ||
      em_fail 69 'neither apptainer nor singularity is on the PATH of this node; a module may provide it'
    "$em_container" exec --nv --bind=/shared/jobs/a --bind='/shared/my store' --bind=/opt/em '/images/e m.sif' /opt/em/em-agent run --plan /shared/jobs/a/plan.json {em_tick}<&- &
    "#);
    insta::assert_snapshot!(differs("apptainer:docker://debian:12", None), @r#"
    # What runs the container.
    em_container=$(command -v apptainer || command -v singularity) ||
      em_fail 69 'neither apptainer nor singularity is on the PATH of this node; a module may provide it'
    "$em_container" exec --bind=/shared/jobs/a --bind='/shared/my store' --bind=/opt/em docker://debian:12 /opt/em/em-agent run --plan /shared/jobs/a/plan.json {em_tick}<&- &
    "#);
}

#[test]
fn an_agent_in_pyxis() {
    insta::assert_snapshot!(differs("docker://nvcr.io#nvidia/pytorch:25.01-py3", Some("gpu:1")), @r#"
    # The agent is a step of the job. srun would answer TERM by killing it: Slurm passes the signal on.
      { [ -n "${SLURM_JOB_ID:-}" ] && scancel --signal=TERM "$SLURM_JOB_ID" 2>/dev/null; } || kill -TERM "$em_agent" 2>/dev/null
    srun --nodes=1 --ntasks=1 --cpu-bind=none --container-image='docker://nvcr.io#nvidia/pytorch:25.01-py3' --container-mounts='/shared/jobs/a:/shared/jobs/a,/shared/my store:/shared/my store,/opt/em:/opt/em' --container-workdir=/shared/jobs/a /opt/em/em-agent run --plan /shared/jobs/a/plan.json {em_tick}<&- &
    "#);
}

#[test]
fn an_oci_bundle_is_slurms_own_matter() {
    insta::assert_snapshot!(differs("/shared/bundles/em", Some("gpu:1")), @"#SBATCH --container=/shared/bundles/em");
}
