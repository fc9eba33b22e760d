//! A controller that is away or does not answer. Nobody else uses the cluster meanwhile.

use std::time::Duration;

use em_slurm::{JobState, ReadError, SubmitError};
use futures_util::future::join_all;

use crate::cluster::{Cluster, wait_for};
use crate::subject::{Subject, TRANSPORTS, Transport};

pub(crate) async fn away_is_an_error_and_never_an_empty_listing(cluster: &Cluster) {
    let subjects: Vec<Subject> = TRANSPORTS.map(|transport| Subject::of(cluster, transport, Duration::from_secs(60))).into();
    join_all(subjects.iter().map(async |subject| {
        // What is agreed on at the first call (version, token) is there.
        subject.submit(&subject.job("away-01", "sleep 60")).await.expect("accepted");
    }))
    .await;

    cluster.end_controller().await;
    join_all(subjects.iter().map(async |subject| {
        let (first, second) = (subject.job_name("away-01"), subject.job("away-02", "true"));
        let slurm = &subject.slurm;
        let (listed, found, submitted, cancelled) =
            tokio::join!(slurm.list("em-"), slurm.find(&first), subject.submit(&second), slurm.cancel("1"));
        assert!(matches!(listed, Err(ReadError::Unreachable { .. })), "{}: {listed:?}", subject.name);
        assert!(matches!(found, Err(ReadError::Unreachable { .. })), "{}: {found:?}", subject.name);
        assert!(matches!(submitted, Err(SubmitError::Unreachable { .. })), "{}: {submitted:?}", subject.name);
        assert!(matches!(cancelled, Err(em_slurm::CancelError::Unreachable { .. })), "{}: {cancelled:?}", subject.name);
        assert!(slurm.cluster().await.is_err(), "{}", subject.name);
    }))
    .await;

    cluster.start_controller();
    wait_for("the controller", || !cluster.slurm("squeue", &["-h"]).is_empty()).await;
    for subject in &subjects {
        let found = async |what: &str| subject.slurm.find(&subject.job_name(what)).await.expect("an answer");
        let [first] = &found("away-01").await[..] else { panic!("{}: the first job is there", subject.name) };
        assert_eq!(found("away-02").await, [], "{}: Unreachable means: not submitted", subject.name);
        subject.slurm.cancel(&first.id).await.expect("cancelled");
    }
}

pub(crate) async fn silent_makes_a_submission_ambiguous(cluster: &Cluster) {
    let patient: Vec<Subject> = TRANSPORTS.map(|transport| Subject::of(cluster, transport, Duration::from_secs(30))).into();
    let subjects: Vec<Subject> = TRANSPORTS.map(|transport| Subject::of(cluster, transport, Duration::from_secs(3))).into();
    for subject in &subjects {
        subject.slurm.list("em-").await.expect("agreed on");
    }
    cluster.signal_controller(rustix::process::Signal::STOP);
    join_all(subjects.iter().map(async |subject| {
        let script = subject.job("silent", "true");
        let (submitted, listed) = tokio::join!(subject.submit(&script), subject.slurm.list("em-"));
        assert!(matches!(submitted, Err(SubmitError::Ambiguous { .. })), "{}: {submitted:?}", subject.name);
        assert!(matches!(listed, Err(ReadError::TimedOut { .. })), "{}: {listed:?}", subject.name);
    }))
    .await;
    cluster.signal_controller(rustix::process::Signal::CONT);

    for (subject, transport) in patient.iter().zip(TRANSPORTS) {
        let name = subject.job_name("silent");
        if transport == Transport::Cli && cluster.version().starts_with("22.") {
            // sbatch was killed over it, and yet it runs.
            let view = subject.view(&name, |view| view.state.ended()).await;
            assert_eq!(view.state, JobState::Completed);
        }
        let found = subject.slurm.find(&name).await.expect("an answer");
        assert!(found.len() <= 1, "{name}: {found:?}");
    }
}
