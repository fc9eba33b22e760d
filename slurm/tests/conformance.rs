//! What every transport must do, on a real cluster: `cli`, `rest` by Unix socket and `rest` with a token, side by side on one cluster;
//! and `local`, as far as it means anything without Slurm.
//! `EM_TEST_SLURM_PREFIX=DIR` takes another Slurm than the installed one.

#[path = "it/cluster.rs"]
#[allow(dead_code, reason = "shared with the other test binaries, which use the rest")]
mod cluster;
#[path = "conformance/common.rs"]
mod common;
#[path = "conformance/controller.rs"]
mod controller;
#[path = "conformance/fields.rs"]
mod fields;
#[path = "conformance/slurm.rs"]
mod slurm;
#[path = "conformance/subject.rs"]
mod subject;
#[path = "conformance/token.rs"]
mod token;

use std::time::{Duration, Instant};

use cluster::Cluster;
use em_slurm::{JobState, LocalScheduler, LocalSettings, RestVersion};
use futures_util::future::join_all;
use subject::{Subject, TRANSPORTS, Transport};

fn cluster() -> Cluster {
    let licenses = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&licenses, "Licenses=matlab:4\n").expect("written");
    let extra = licenses.path().to_string_lossy();
    Cluster::up(&[("REST", "1"), ("NODES", "3"), ("CPUS", "16"), ("MESSAGETIMEOUT", "5"), ("EXTRA_CONF", &extra)])
}

async fn check(cluster: &Cluster, subject: &Subject) {
    tokio::join!(
        common::a_job_runs_and_is_over_with_its_exit_code(subject),
        common::names_are_matched_as_they_are(subject),
        common::cancel_tells_the_agent_and_a_job_that_is_gone_counts_as_cancelled(subject),
        slurm::gpus_are_given(subject),
        slurm::an_impossible_job_is_refused_and_not_there(subject),
        slurm::why_a_job_waits_is_told(subject),
        slurm::a_requeue_is_a_restart_of_the_same_job(cluster, subject),
        slurm::jobs_of_others_are_not_ours(cluster, subject),
        slurm::the_cluster_is_seen(subject),
    );
}

/// One test, since one cluster serves all: first what leaves the controller alone, then what does not.
#[tokio::test]
async fn every_transport_keeps_the_promises_of_a_scheduler() {
    let cluster = cluster();
    fields::prepare(&cluster);
    let subjects = TRANSPORTS.map(|transport| Subject::of(&cluster, transport, Duration::from_secs(30)));
    join_all(subjects.iter().map(|subject| check(&cluster, subject))).await;
    let [cli, socket, token] = &subjects;
    for rest in [socket, token] {
        fields::every_option_arrives(&cluster, cli, rest).await;
        fields::what_cannot_be_carried_is_refused_by_name(rest).await;
    }
    tokio::join!(
        token::an_expired_token_is_renewed(&cluster),
        token::a_token_that_is_no_good_is_an_error_until_it_is_replaced(&cluster)
    );
    controller::away_is_an_error_and_never_an_empty_listing(&cluster).await;
    controller::silent_makes_a_submission_ambiguous(&cluster).await;
}

/// No cluster is needed.
#[tokio::test]
async fn the_queue_of_one_machine_keeps_what_is_promised_without_slurm() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let jobs_at_once = 8.try_into().expect("eight");
    let settings = LocalSettings { jobs_at_once, ..LocalSettings::new(dir.path().join("state")) };
    let local = LocalScheduler::new(settings).expect("the queue opens");
    let user = std::process::Command::new("id").arg("-un").output().expect("id runs").stdout;
    let user = String::from_utf8_lossy(&user).trim().to_owned();
    let subject = &Subject::new("local", Box::new(local), user, dir.path().join("jobs"));
    // One after the other: they ask for more CPUs than a small machine has.
    common::a_job_runs_and_is_over_with_its_exit_code(subject).await;
    common::names_are_matched_as_they_are(subject).await;
    common::cancel_tells_the_agent_and_a_job_that_is_gone_counts_as_cancelled(subject).await;
}

#[tokio::test]
async fn every_version_of_the_api_carries_every_option() {
    let cluster = cluster();
    fields::prepare(&cluster);
    let cli = Subject::of(&cluster, Transport::Cli, Duration::from_secs(30));
    let versions: Vec<RestVersion> = (36..=45).map(|number| format!("v0.0.{number}").parse().expect("a version")).collect();
    let mut spoken = Vec::new();
    for version in versions {
        let subject = Subject::version(&cluster, version);
        if subject.slurm.list("em-").await.is_err() {
            continue;
        }
        spoken.push(version.to_string());
        check(&cluster, &subject).await;
        fields::every_option_arrives(&cluster, &cli, &subject).await;
    }
    println!("versions that this slurmrestd speaks: {}", spoken.join(" "));
    assert!(spoken.len() >= 3, "{spoken:?}");
}

#[tokio::test]
async fn accounting_remembers_what_the_listing_forgot() {
    let cluster = Cluster::up(&[("REST", "1"), ("ACCT", "1"), ("MINJOBAGE", "2"), ("ENFORCE", "associations,limits")]);
    slurm::a_limit_on_submitted_jobs_passes(&cluster).await;
    join_all(TRANSPORTS.map(async |transport| {
        let subject = &Subject::of(&cluster, transport, Duration::from_secs(30));
        let mut script = subject.job("forgotten", "exit 3");
        script.comment = "em attempt=1".to_owned();
        let id = subject.submit(&script).await.expect("accepted").id;
        let listed = subject.view(&script.name, |view| view.state.ended()).await;
        let end = Instant::now() + Duration::from_secs(60);
        while !subject.slurm.list(&script.name).await.expect("an answer").is_empty() {
            assert!(Instant::now() < end, "the listing does not forget");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let found = subject.slurm.find(&script.name).await.expect("an answer");
        let [view] = &found[..] else { panic!("{}: one job: {found:?}", subject.name) };
        assert_eq!((&view.id, &view.comment, &view.state), (&id, &script.comment, &JobState::Failed));
        assert_eq!((view.submitted_at, view.started_at), (listed.submitted_at, listed.started_at));
        // slurmrestd of 22.05 loses exit codes of accounting: then there is none rather than a wrong one.
        let lost = transport != Transport::Cli && cluster.version().starts_with("22.");
        assert_eq!(view.exit, if lost { None } else { listed.exit }, "{}", subject.name);
        assert_eq!(subject.slurm.find(&subject.job_name("never")).await.expect("an answer"), []);
    }))
    .await;

    // Away is not "never heard of it".
    cluster.end_by("slurmdbd", rustix::process::Signal::TERM).await;
    join_all(TRANSPORTS.map(async |transport| {
        let subject = &Subject::of(&cluster, transport, Duration::from_secs(20));
        let found = subject.slurm.find(&subject.job_name("never")).await;
        assert!(found.is_err(), "{}: {found:?}", subject.name);
    }))
    .await;
}
