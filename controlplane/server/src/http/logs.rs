//! `GET /experiments/{name}/logs`: log lines as NDJSON. Followed, the stream ends in good order when the experiment has ended; it
//! breaks off when the server stops, so that the caller asks again behind the last line.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path, Query};
use em_api::ExperimentUid;
use em_api::status::LogLine;
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::name::Name;
use super::problem::Answer;
use super::stream::{Broken, News, Pace, Seat};
use crate::store;

/// Lines a chunk.
const PAGE: i64 = 500;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Begin behind this `seq`.
    #[param(format = "uint64")]
    after: Option<u64>,
    /// Keep the answer open until the experiment has ended.
    follow: Option<bool>,
}

struct Tail {
    app: Data<App>,
    name: String,
    uid: ExperimentUid,
    after: i64,
    follow: bool,
    pace: Pace,
    _seat: Seat,
}

/// Read or follow the log of an experiment
///
/// One JSON object a line. Followed, the stream ends when the experiment has ended; an empty line says that the server is still there.
#[utoipa::path(
    get,
    path = "/experiments/{name}/logs",
    operation_id = "readLogs",
    tag = "experiments",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo"), LogsQuery),
    responses((status = 200, description = "Lines, the oldest first", body = LogLine, content_type = "application/x-ndjson")),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn logs(app: Data<App>, name: Path<Name>, query: Query<LogsQuery>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let tail = Tail {
        uid: stored.uid,
        name: stored.name,
        after: query.after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX)),
        follow: query.follow.unwrap_or(false),
        pace: Pace::new(&app),
        _seat: Seat::take(&app)?,
        app,
    };
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(stream::try_unfold(tail, |tail| async {
        let next = tail.next().await;
        next.inspect_err(Broken::log)
    })))
}

impl Tail {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        loop {
            // Both before the lines are read: what comes later wakes us, and after the end nothing comes.
            self.pace.look();
            let last_look = !self.follow || self.ended().await?;
            let lines = self.app.store.log_lines(self.uid, self.after, PAGE).await?;
            if let Some(last) = lines.last() {
                self.after = last.seq.cast_signed();
                return Ok(Some((ndjson(&lines), self)));
            }
            if last_look {
                return Ok(None);
            }
            if let News::Heartbeat = self.pace.news(&self.app).await? {
                // An empty line is passed over by readers.
                return Ok(Some((Bytes::from_static(b"\n"), self)));
            }
        }
    }

    async fn ended(&self) -> store::Result<bool> {
        match self.app.store.stored(&self.name).await {
            Ok(stored) => Ok(stored.uid != self.uid || stored.phase.ended()),
            Err(store::Error::NotFound(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn ndjson(lines: &[LogLine]) -> Bytes {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line).expect("a log line serialises"));
        text.push('\n');
    }
    text.into()
}
