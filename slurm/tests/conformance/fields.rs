//! Every field of `JobOptions` arrives: the controller's record of a job is the same whichever way it was submitted.

use std::collections::BTreeMap;

use em_slurm::{JobOptions, SubmitError};

use crate::cluster::Cluster;
use crate::subject::Subject;

/// Fields of `scontrol show job` that differ between two jobs, two users, or a script from a file and one from a request. `OOMKillStep`:
/// slurmrestd says 0 where sbatch says nothing, which is 0.
const OWN: [&str; 14] = [
    "JobId",
    "JobName",
    "Comment",
    "UserId",
    "GroupId",
    "MCS_label",
    "SubmitTime",
    "AccrueTime",
    "LastSchedEval",
    "SuspendTime",
    "AllocNode:Sid",
    "Command",
    "SubmitLine",
    "OOMKillStep",
];

fn record(cluster: &Cluster, id: &str) -> BTreeMap<String, String> {
    let text = cluster.slurm("scontrol", &["-o", "show", "job", id]);
    // sbatch's options look like fields.
    let (before, after) = text.split_once(" SubmitLine=").map_or((text.as_str(), ""), |(before, line)| {
        (before, line.split_once(" WorkDir=").map_or("", |(submit_line, _)| &line[submit_line.len()..]))
    });
    let words = before.split_ascii_whitespace().chain(after.split_ascii_whitespace()).filter_map(|word| word.split_once('='));
    // Jobs that are held are not eligible yet and have the priority 0. The time of one that begins later is what it asked for.
    let begins = text.contains("Reason=BeginTime");
    let fields = words.filter(|(name, _)| match *name {
        "EligibleTime" => begins,
        "Priority" => !begins,
        name => !OWN.contains(&name),
    });
    // Paths hold the job's id. sbatch says the CPUs of a task twice (26.05).
    let fields = fields.map(|(name, value)| {
        let value = value.replace(&format!("slurm_{id}"), "slurm_ID");
        let tasks = |value: &str| value.split(',').filter(|tres| !tres.starts_with("cpu")).collect::<Vec<_>>().join(",");
        (name.to_owned(), if name == "TresPerTask" { tasks(&value) } else { value })
    });
    fields.filter(|(_, value)| !value.is_empty()).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn extra(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// None of them starts.
fn variants() -> [(&'static str, JobOptions); 4] {
    [
        (
            "placed",
            JobOptions {
                partition: some("gpu"),
                gres: some("gpu:1"),
                nodes: Some(1),
                cpus_per_task: Some(2),
                memory: some("2G"),
                time_minutes: Some(7),
                account: some("research"),
                qos: some("normal"),
                constraint: some("fast"),
                nodelist: some("node1"),
                exclude: some("node[2,3]"),
                licenses: some("matlab:1"),
                nice: Some(50),
                requeue: true,
                mail_type: some("END,FAIL"),
                mail_user: some("someone@example.org"),
                extra_args: extra(&["--hold"]),
                ..JobOptions::default()
            },
        ),
        (
            "shared",
            JobOptions {
                gpus: some("2"),
                nodes: Some(2),
                exclusive: true,
                dependency: some("singleton"),
                extra_args: extra(&[
                    "--hold",
                    "--ntasks=2",
                    "--ntasks-per-node=1",
                    "--mem-per-cpu=64M",
                    "--time-min=3",
                    "--time-min=4",
                ]),
                ..JobOptions::default()
            },
        ),
        (
            "later",
            JobOptions {
                gpus_per_node: some("1"),
                begin: some("2031-01-02T03:04:05"),
                extra_args: extra(&["--wckey=key", "--deadline=2031-02-03T04:05:06", "--mincpus=2"]),
                ..JobOptions::default()
            },
        ),
        (
            "tasks",
            JobOptions {
                cpus_per_task: Some(1),
                reservation: some("later"),
                extra_args: extra(&["--hold", "--ntasks=2", "--gpus-per-task=1", "--mem-per-gpu=100M", "--threads-per-core=1"]),
                ..JobOptions::default()
            },
        ),
    ]
}

/// What the jobs ask for must be there to be had.
pub(crate) fn prepare(cluster: &Cluster) {
    cluster.slurm("scontrol", &["update", "NodeName=node1", "AvailableFeatures=fast", "ActiveFeatures=fast"]);
    let reservation = ["create", "reservation", "ReservationName=later", "StartTime=now+1day", "Duration=60", "Nodes=node1"];
    let said = cluster.slurm("scontrol", &[&reservation[..], &["Users=-bin"]].concat());
    assert!(said.contains("later"), "{said}");
}

pub(crate) async fn every_option_arrives(cluster: &Cluster, cli: &Subject, subject: &Subject) {
    for (what, options) in variants() {
        let mut script = cli.job("fields", "true");
        script.options = options;
        let expected = cli.submit(&script).await.expect("sbatch takes it").id;
        script.name = subject.job_name(&format!("fields-{what}"));
        let id = match subject.submit(&script).await {
            Ok(submitted) => submitted.id,
            Err(error) => panic!("{} {what}: {error:?}", subject.name),
        };
        let (expected, record) = (record(cluster, &expected), record(cluster, &id));
        assert_eq!(record, expected, "{} {what}", subject.name);
    }
}

pub(crate) async fn what_cannot_be_carried_is_refused_by_name(subject: &Subject) {
    let mut script = subject.job("uncarried", "true");
    script.options.extra_args = extra(&["--something-new=1"]);
    let refused = subject.submit(&script).await;
    let named = |text: &str| text.contains("something-new");
    assert!(matches!(&refused, Err(SubmitError::Rejected { stderr }) if named(stderr)), "{refused:?}");
}
