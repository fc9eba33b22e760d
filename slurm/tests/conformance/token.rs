//! Tokens that expire, and tokens that are no good.

use std::time::{Duration, Instant};

use em_slurm::{ReadError, RestScheduler, RestSettings, Scheduler, SubmitError, TokenSource};

use crate::cluster::Cluster;
use crate::subject::{Subject, Transport, settings, token};

pub(crate) async fn an_expired_token_is_renewed(cluster: &Cluster) {
    let settings = settings(cluster, Transport::Token);
    let short = RestSettings { token: Some(token(cluster, 3)), ..settings.clone() };
    let slurm = RestScheduler::new(short).expect("settings");
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        // Nothing happens meanwhile: "unchanged" must not read as "no jobs".
        assert_ne!(slurm.list("em-").await.expect("always with a valid token"), []);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn a_token_that_is_no_good_is_an_error_until_it_is_replaced(cluster: &Cluster) {
    let file = cluster.dir().join("token");
    std::fs::write(&file, "SLURM_JWT=e30.e30.nonsense\n").expect("written");
    let bad = RestSettings { token: Some(TokenSource::File(file.clone())), ..settings(cluster, Transport::Token) };
    let slurm = Box::new(RestScheduler::new(bad).expect("settings"));
    let subject = Subject::new("badtoken", slurm, cluster.user(), cluster.dir().join("jobs"));
    let listed = subject.slurm.list("em-").await;
    assert!(matches!(listed, Err(ReadError::Unreachable { .. })), "{listed:?}");
    let submitted = subject.submit(&subject.job("one", "true")).await;
    assert!(matches!(submitted, Err(SubmitError::Ambiguous { .. } | SubmitError::Unreachable { .. })), "{submitted:?}");

    let TokenSource::Command(words) = token(cluster, 600) else { unreachable!("a command") };
    let good = std::process::Command::new(&words[0]).args(&words[1..]).output().expect("a token");
    std::fs::write(&file, good.stdout).expect("written");
    assert_eq!(subject.slurm.find(&subject.job_name("one")).await.expect("an answer"), [], "it was not submitted");
    subject.submit(&subject.job("one", "true")).await.expect("accepted");
}
