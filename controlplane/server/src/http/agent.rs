//! What agents call: claim, records, measurements. The attempt's own token opens these addresses and no others; the attempt's own
//! are opened by no other token.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use actix_web::{Error, HttpResponse, ResponseError};
use em_api::agent::{ClaimAnswer, ClaimRequest, RecordAnswer, RecordBatch};
use em_api::measurement::Measurement;
use em_api::{AttemptId, TrialId};

use super::App;
use super::access;
use super::problem::{Answer, Refusal, json_config};
use crate::store::access::hash;
use crate::store::claims::ClaimOutcome;
use crate::store::handed_in::{Delivery, PutOutcome};
use crate::store::now;
use crate::store::records::AppendOutcome;

// Codes of 409 that agents sort by; em_api::client::agent has the same words.
const ALREADY_CLAIMED: &str = "already_claimed";
const FENCED: &str = "fenced";
const CONFLICT: &str = "conflict";

/// Of a host, a job id, a nonce.
const LONGEST_WORD: usize = 255;
const RECORD_BYTES: usize = 4 << 20;
const MEASUREMENT_BYTES: usize = 8 << 20;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::scope("/agent/attempts/{id}")
            .wrap(from_fn(own_token))
            .service(web::resource("/claim").route(web::post().to(claim)))
            .service(web::resource("/records").app_data(json_config(RECORD_BYTES)).route(web::post().to(records)))
            .service(
                web::resource("/trials/{trial}/measurement")
                    .app_data(json_config(MEASUREMENT_BYTES))
                    .route(web::put().to(measurement)),
            ),
    );
}

/// Comes before the body is read.
async fn own_token(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    match shows_own_token(&request).await {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

async fn shows_own_token(request: &ServiceRequest) -> Answer<()> {
    let id: Option<AttemptId> = request.match_info().get("id").and_then(|id| id.parse().ok());
    let (Some(id), Some(secret)) = (id, access::bearer(request.request())) else { return Err(Refusal::unauthorized()) };
    let matches = App::of(request.request()).store.attempt_token_matches(id, &hash(secret)).await?;
    if matches { Ok(()) } else { Err(Refusal::unauthorized()) }
}

/// Claim an attempt: this process executes it
///
/// The same nonce claims again without harm.
#[utoipa::path(
    post,
    path = "/agent/attempts/{id}/claim",
    operation_id = "claimAttempt",
    tag = "agents",
    params(("id" = AttemptId, Path, description = "The attempt")),
    request_body = ClaimRequest,
    responses(
        (status = 200, description = "Granted", body = ClaimAnswer),
        (status = 409, description = "`already_claimed` by another process, `fenced`"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_body`"),
    ),
    security(("attempt" = [])),
)]
async fn claim(app: Data<App>, id: Path<AttemptId>, body: Json<ClaimRequest>) -> Answer {
    if body.attempt != *id {
        return Err(contradiction("attempt"));
    }
    for (field, text) in
        [("slurm_job_id", &body.slurm_job_id), ("boot_nonce", &body.boot_nonce), ("node", &body.node), ("version", &body.version)]
    {
        if text.len() > LONGEST_WORD || text.chars().any(char::is_control) {
            let detail = format!("{field} is a word of up to {LONGEST_WORD} bytes without control characters");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail));
        }
    }
    match app.store.claim(&body).await? {
        ClaimOutcome::Granted(answer) => Ok(HttpResponse::Ok().json(answer)),
        ClaimOutcome::Taken { job_id, node } => {
            Err(Refusal::conflict(ALREADY_CLAIMED, format!("job {job_id} on {node} executes this attempt")))
        }
        ClaimOutcome::Over => Err(Refusal::conflict(FENCED, "this attempt has ended; nothing is left to do")),
    }
}

/// Hand in records: phases, log lines, samples, vectors
///
/// An empty batch is a heartbeat. A record that came before is passed over.
#[utoipa::path(
    post,
    path = "/agent/attempts/{id}/records",
    operation_id = "appendRecords",
    tag = "agents",
    params(("id" = AttemptId, Path, description = "The attempt")),
    request_body = RecordBatch,
    responses(
        (status = 200, description = "Stored", body = RecordAnswer),
        (status = 409, description = "`fenced`: a newer process holds the claim"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_body`"),
    ),
    security(("attempt" = [])),
)]
async fn records(app: Data<App>, id: Path<AttemptId>, body: Json<RecordBatch>) -> Answer {
    if let Some(oldest) = body.records.iter().map(|record| record.at).min() {
        app.metrics.agent_lag_seconds.observe(now().duration_since(oldest).as_secs_f64().max(0.0));
    }
    match app.store.append_records(*id, body.epoch, &body.records).await? {
        AppendOutcome::Stored(directive) => Ok(HttpResponse::Ok().json(RecordAnswer { directive })),
        AppendOutcome::Fenced => Err(fenced()),
    }
}

/// Hand in the measurement of a trial
///
/// The first one of an epoch counts; the same again is fine.
#[utoipa::path(
    put,
    path = "/agent/attempts/{id}/trials/{trial}/measurement",
    operation_id = "putMeasurement",
    tag = "agents",
    params(("id" = AttemptId, Path, description = "The attempt"), ("trial" = TrialId, Path, description = "The trial")),
    request_body = Measurement,
    responses(
        (status = 200, description = "Accepted", body = RecordAnswer),
        (status = 409, description = "`conflict` with another one of this epoch, `fenced`"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_body`, `foreign_measurement`"),
    ),
    security(("attempt" = [])),
)]
async fn measurement(app: Data<App>, path: Path<(AttemptId, TrialId)>, body: Json<Measurement>) -> Answer {
    let (id, trial) = path.into_inner();
    if body.trial != trial {
        return Err(contradiction("trial"));
    }
    let (outcome, directive) = app.store.put_measurement(id, &body, Delivery::Agent).await?;
    match outcome {
        PutOutcome::Accepted | PutOutcome::Same => Ok(HttpResponse::Ok().json(RecordAnswer { directive })),
        PutOutcome::Differs => Err(Refusal::conflict(
            CONFLICT,
            "another measurement of this trial was accepted in this epoch before; this one is kept as evidence",
        )),
        PutOutcome::Fenced => Err(fenced()),
        PutOutcome::Foreign(why) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "foreign_measurement", why)),
    }
}

fn fenced() -> Refusal {
    Refusal::conflict(
        FENCED,
        "this epoch does not hold the claim on the attempt, or its experiment has ended: claim first, or leave",
    )
}

fn contradiction(what: &str) -> Refusal {
    let detail = format!("the body is of another {what} than the address");
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail)
}
