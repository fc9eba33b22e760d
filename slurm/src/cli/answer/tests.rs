use std::time::Duration;

use super::*;

fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Submitted, SubmitError> {
    submitted(Ok(Output { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() }))
}

/// What sbatch printed in one case. Blocks of a fixture: `# case · exit status · what it means`, then its stderr.
fn cases(fixture: &'static str) -> Vec<(&'static str, i32, &'static str, String)> {
    let mut cases: Vec<(&str, i32, &str, String)> = Vec::new();
    for line in fixture.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let parts: Vec<&str> = head.split(" · ").collect();
            if let [case, status, means] = parts[..] {
                cases.push((case, status.parse().expect("an exit status"), means, String::new()));
            }
        } else if let Some((.., stderr)) = cases.last_mut() {
            stderr.push_str(line);
            stderr.push('\n');
        }
    }
    cases
}

fn meaning<T>(answer: &Result<T, SubmitError>) -> &'static str {
    match answer {
        Ok(_) => "submitted",
        Err(SubmitError::Rejected { .. }) => "rejected",
        Err(SubmitError::Limited { .. }) => "limited",
        Err(SubmitError::Unreachable { .. }) => "unreachable",
        Err(SubmitError::Ambiguous { .. }) => "ambiguous",
        Err(SubmitError::Spawn { .. }) => "not started",
    }
}

#[test]
fn every_answer_of_sbatch_that_was_seen_or_is_documented_is_read_as_it_is_meant() {
    for (fixture, least) in [
        (include_str!("../../../tests/fixtures/recorded-22.05.8-sbatch.txt"), 40),
        (include_str!("../../../tests/fixtures/recorded-26.05.3-sbatch.txt"), 40),
        (include_str!("../../../tests/fixtures/written-26.05-sbatch.txt"), 10),
    ] {
        let cases = cases(fixture);
        assert!(cases.len() >= least, "the list is cut: {}", cases.len());
        for (case, status, means, stderr) in cases {
            let read = answer(status, "", &stderr);
            assert_eq!(meaning(&read), means, "{case}: {read:?}");
        }
    }
}

#[test]
fn a_job_id_is_read_with_and_without_a_cluster() {
    for (stdout, id, cluster) in
        [("4711\n", "4711", None), ("4711;main\n", "4711", Some("main")), ("Welcome!\n12\n", "12", None), ("12;\n", "12", None)]
    {
        let submitted = answer(0, stdout, "").expect("a job id");
        assert_eq!((submitted.id.as_str(), submitted.cluster.as_deref()), (id, cluster));
    }
}

#[test]
fn success_without_an_id_and_unknown_failures_may_have_submitted() {
    for (code, stdout, stderr) in [
        (0, "", ""),
        (0, "Submitted batch job 7", ""),
        (1, "", ""),
        (1, "", "sbatch: error: Batch job submission failed: Some error of the year 2030"),
        (255, "", "sbatch: error: Batch job submission failed: Some error of the year 2030"),
        (1, "", "sbatch: error: Some error of the year 2030"),
    ] {
        assert_eq!(meaning(&answer(code, stdout, stderr)), "ambiguous", "{stdout}{stderr}");
    }
    let killed = submitted(Ok(Output { code: None, stdout: "4711\n".to_owned(), stderr: String::new() }));
    assert_eq!(meaning(&killed), "ambiguous");
    let stopped = submitted(Err(RunError::TimedOut { after: Duration::from_secs(30), stderr: String::new() }));
    assert_eq!(meaning(&stopped), "ambiguous");
    let lost = submitted(Err(RunError::Lost { source: std::io::Error::other("broken pipe") }));
    assert_eq!(meaning(&lost), "ambiguous");
}

#[test]
fn only_the_last_word_counts() {
    // First full, then a time-out: the second try may have submitted.
    let stderr = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n\
                  sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
    assert_eq!(meaning(&answer(1, "", stderr)), "ambiguous");
    // A site's words before it are no reason.
    let stderr = "sbatch: error: Hint: Invalid partition name specified? Ask us.\n\
                  sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received\n";
    assert_eq!(meaning(&answer(1, "", stderr)), "ambiguous");
}

#[test]
fn a_limit_on_submitted_jobs_passes_and_a_limit_on_the_job_itself_is_a_refusal() {
    let policy =
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
    for (limit, means) in [
        ("AssocMaxSubmitJobLimit", "limited"),
        ("AssocGrpSubmitJobsLimit", "limited"),
        ("QOSMaxSubmitJobPerUserLimit", "limited"),
        ("QOSGrpSubmitJobsLimit", "limited"),
        ("MaxSubmitJobsPerAccount", "limited"),
        ("QOSMaxWallDurationPerJobLimit", "rejected"),
        ("AssocMaxCpuPerJobLimit", "rejected"),
    ] {
        let stderr = format!("sbatch: error: {limit}\nsbatch: error: {policy}");
        assert_eq!(meaning(&answer(1, "", &stderr)), means, "{stderr}");
    }
}

#[test]
fn a_name_that_cannot_be_found_again_is_never_submitted() {
    assert!(findable("em-1a2b3c4d-01JXYZ").is_ok());
    for name in ["", "a b", "a,b", "a|b", "é", &"x".repeat(129)] {
        assert!(matches!(findable(name), Err(SubmitError::Rejected { .. })), "{name}");
    }
}

fn scancel(code: i32, stderr: &str) -> Result<(), CancelError> {
    cancelled("7", Ok(Output { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() }))
}

#[test]
fn a_job_that_is_over_or_unknown_counts_as_cancelled() {
    for (code, stderr) in [
        (0, ""),
        (1, "scancel: error: Kill job error on job id 7: Invalid job id specified"),
        (1, "scancel: error: Kill job error on job id 7: Job/step already completing or completed"),
        (1, "scancel: error: Kill job error on job id 7: Job has already finished"),
    ] {
        assert!(scancel(code, stderr).is_ok(), "{stderr}");
    }
}

#[test]
fn a_job_of_someone_else_is_told_from_a_controller_that_is_away() {
    assert!(matches!(
        scancel(210, "scancel: error: Kill job error on job id 7: Access/permission denied"),
        Err(CancelError::Denied { .. })
    ));
    for (code, stderr) in [
        (8, "scancel: error: Unable to contact slurm controller (connect failure)"),
        (1, "scancel: error: Kill job error on job id 7: Socket timed out on send/recv operation"),
        (1, "scancel: error: Kill job error on job id 7: Some error of the year 2030"),
    ] {
        assert!(matches!(scancel(code, stderr), Err(CancelError::Unreachable { .. })), "{stderr}");
    }
    let late = cancelled("7", Err(RunError::TimedOut { after: Duration::from_secs(30), stderr: String::new() }));
    assert!(matches!(late, Err(CancelError::TimedOut { .. })));
}
