use std::time::Duration;

use super::*;

fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
    Ok(Answer { status: StatusCode::from_u16(status).expect("a status"), body: body.as_bytes().to_vec() })
}

fn submit(status: u16, body: &str) -> Result<Submitted, SubmitError> {
    submitted("em-1", answer(status, body))
}

#[test]
fn a_job_id_is_a_submission_whatever_stands_beside_it() {
    // Seen: 22.05 (held), 26.05 (an event for mail that it does not know: submitted without it, and yet HTTP 500).
    for (status, body) in [
        (200, r#"{"errors":[],"job_id":7,"step_id":"BATCH","job_submit_user_msg":""}"#),
        (200, r#"{"errors":[{"error_code":2042,"error":"Job is in held state"}],"job_id":7}"#),
        (
            500,
            r#"{"job_id":7,"errors":[{"description":"Unknown flag \"FOO\"","error_number":9207,"error":"Data parser unable to parse invalid flag"}],"warnings":[]}"#,
        ),
        (200, r#"{"result":{"job_id":7},"errors":null,"warnings":null}"#),
    ] {
        assert_eq!(submit(status, body).expect(body).id, "7");
    }
}

#[test]
fn refusals_limits_and_a_controller_that_is_away_are_told_apart_by_number() {
    for (status, body) in [
        (500, r#"{"errors":[{"error_code":2000,"error":"Invalid partition name specified"}]}"#),
        (
            422,
            r#"{"errors":[{"description":"Batch job submission failed","error_number":2000,"error":"Invalid partition name specified"}]}"#,
        ),
        (
            400,
            r#"{"errors":[{"description":"Unknown key \"bogus\"","source":"hsearch_r"},{"error_code":9001,"error":"Failure during parsing"}]}"#,
        ),
        (
            500,
            r#"{"errors":[{"error_number":-1,"error":"Unspecified error"},{"error_code":9001,"error":"Failure during parsing"}]}"#,
        ),
        (500, r#"{"errors":[{"error_number":9202,"error":"Unable to convert Data type"}]}"#),
    ] {
        assert!(matches!(submit(status, body), Err(SubmitError::Rejected { .. })), "{body}");
    }
    for number in [11, 2007, 2016] {
        let body = format!(r#"{{"errors":[{{"error_code":{number},"error":"full"}}]}}"#);
        assert!(matches!(submit(500, &body), Err(SubmitError::Limited { .. })), "{body}");
    }
    let policy =
        submit(500, r#"{"errors":[{"error_code":2050,"error":"Job violates accounting/QOS policy"}]}"#).expect_err("refused");
    assert!(matches!(&policy, SubmitError::Limited { stderr } if is_policy(stderr)), "{policy:?}");
    let away = r#"{"errors":[{"error_code":1800,"error":"Unable to contact slurm controller (connect failure)"}]}"#;
    assert!(matches!(submit(500, away), Err(SubmitError::Unreachable { .. })));
    assert!(matches!(submit(404, "Unable find requested URL."), Err(SubmitError::Unreachable { .. })));
    let unsent = submitted("em-1", Err(CallError::NotSent("connection refused".to_owned())));
    assert!(matches!(unsent, Err(SubmitError::Unreachable { .. })));
}

#[test]
fn what_is_not_certain_may_have_submitted() {
    for (status, body) in [
        // Seen: a hung controller; a token that has expired, of 22.05 and 26.05.
        (500, r#"{"errors":[{"error_code":5004,"error":"Socket timed out on send/recv operation"}]}"#),
        (500, r#"{"errors":[{"error_code":5005,"error":"Zero Bytes were transmitted or received"}]}"#),
        (511, r#"{"errors":[{"error_number":1007,"error":"Protocol authentication error"}]}"#),
        (500, r#"{"errors":[{"error_number":-1,"error":"Unspecified error"}]}"#),
        (500, r#"{"errors":[{"error_number":2090,"error":"Slurm internal error"}]}"#),
        (500, r#"{"errors":[{"error":"Some error of the year 2030"}]}"#),
        (502, "<html>Bad gateway</html>"),
        (200, ""),
        (200, r#"{"job_id":0}"#),
        (200, r#"{"job_id":7"#),
    ] {
        assert!(matches!(submit(status, body), Err(SubmitError::Ambiguous { .. })), "{body}");
    }
    for error in [CallError::TimedOut { after: Duration::from_secs(1) }, CallError::Lost("reset".to_owned())] {
        assert!(matches!(submitted("em-1", Err(error)), Err(SubmitError::Ambiguous { .. })));
    }
}

#[test]
fn a_job_that_is_over_counts_as_cancelled_and_only_a_refusal_is_denied() {
    let cancel = |status, body: &str| cancelled("7", answer(status, body));
    for (status, body) in [
        (200, r#"{"errors":[]}"#),
        (500, r#"{"errors":[{"error_number":2017,"error":"Invalid job id specified"}]}"#),
        (
            500,
            r#"{"errors":[{"error":"_handle_job_delete: unable to kill job 7 with signal 9: Invalid job id specified","error_code":0}]}"#,
        ),
        (
            200,
            r#"{"status":[{"error":{"string":"Invalid job id specified","code":2017,"message":"Invalid job id specified"}}],"errors":[]}"#,
        ),
        (200, r#"{"status":[{"error":{"string":"No error","code":0}}],"errors":[]}"#),
    ] {
        cancel(status, body).expect(body);
    }
    for (status, body) in [
        (500, r#"{"errors":[{"error_number":2002,"error":"Access/permission denied"}]}"#),
        (200, r#"{"status":[{"error":{"code":2010,"message":"Invalid user id"}}],"errors":[]}"#),
    ] {
        assert!(matches!(cancel(status, body), Err(CancelError::Denied { .. })), "{body}");
    }
    for (status, body) in [
        // Seen: 26.05, controller away.
        (403, r#"{"status":[],"errors":[{"error_number":1,"error":"Operation not permitted"}]}"#),
        (500, r#"{"errors":[{"error_number":1800,"error":"Unable to contact slurm controller (connect failure)"}]}"#),
        (502, "Bad gateway"),
    ] {
        assert!(matches!(cancel(status, body), Err(CancelError::Unreachable { .. })), "{body}");
    }
}
