//! `GET /experiments/{name}/events`: what happened to an experiment, oldest first; with `watch=true` as server-sent events, each
//! with its number as id, until the experiment is removed.

use std::collections::VecDeque;

use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use em_api::ExperimentUid;
use em_api::status::{Event, EventList};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::App;
use super::name::Name;
use super::problem::Answer;
use super::stream::{Broken, HELLO, News, Pace, STILL_HERE, Seat, last_event_id};
use super::watch::expired;
use crate::store;
use crate::store::events::MOST_EVENTS;

/// Events read at a time.
const PAGE: i64 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Keep the answer open as server-sent events, until the experiment is removed.
    watch: Option<bool>,
}

/// List what happened to an experiment, the newest 1,000, or watch it
///
/// Oldest first. With `watch=true` the answer is a stream that begins with what there is, or behind the event in `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/experiments/{name}/events",
    operation_id = "listEvents",
    tag = "experiments",
    params(
        ("name" = String, Path, description = "Name of the experiment", example = "demo"),
        EventsQuery,
        ("Last-Event-ID" = Option<u64>, Header, nullable = false, description = "With `watch`: the id of the last event seen"),
    ),
    responses(
        (
            status = 200,
            description = "The events, or with `watch=true` a stream",
            content((EventList = "application/json"), (super::openapi::EventStream = "text/event-stream"))
        ),
        (status = 410, description = "`expired`: watch again without Last-Event-ID"),
    ),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn events(app: Data<App>, request: HttpRequest, name: Path<Name>, query: Query<EventsQuery>) -> Answer {
    let stored = app.store.stored(&name).await?;
    let after = last_event_id(&request)?;
    if !query.watch.unwrap_or(false) {
        return Ok(HttpResponse::Ok().json(EventList { items: app.store.events(stored.uid, MOST_EVENTS).await? }));
    }
    let pace = Pace::new(&app);
    if let Some(after) = after {
        let span = app.store.event_span(stored.uid).await?;
        if after > span.newest || after < span.compacted {
            return Err(expired());
        }
    }
    let (uid, after, ready) = (stored.uid, after.unwrap_or(0), VecDeque::from([HELLO]));
    let watch = Watch { _seat: Seat::take(&app)?, app, name: stored.name, uid, after, ready, over: false, pace };
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(stream::try_unfold(watch, |watch| async {
        let next = watch.next().await;
        next.inspect_err(Broken::log)
    })))
}

struct Watch {
    app: Data<App>,
    name: String,
    uid: ExperimentUid,
    after: i64,
    ready: VecDeque<Bytes>,
    over: bool,
    pace: Pace,
    _seat: Seat,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            if self.over {
                return Ok(None);
            }
            self.pace.look();
            let events = self.app.store.events_after(self.uid, self.after, PAGE).await?;
            if let Some(last) = events.last() {
                self.after = last.seq.cast_signed();
                self.ready.extend(events.iter().map(shown));
            } else if self.is_gone().await? {
                let data = json!({"metadata": {"uid": self.uid, "name": self.name}});
                self.ready.push_back(Bytes::from(format!("event: deleted\ndata: {data}\n\n")));
                self.over = true;
            } else {
                match self.pace.news(&self.app).await {
                    Ok(News::Some) => {}
                    Ok(News::Heartbeat) => return Ok(Some((STILL_HERE, self))),
                    Err(Broken::Stopping) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn is_gone(&self) -> store::Result<bool> {
        match self.app.store.stored(&self.name).await {
            Ok(stored) => Ok(stored.uid != self.uid),
            Err(store::Error::NotFound(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn shown(event: &Event) -> Bytes {
    format!("id: {}\nevent: added\ndata: {}\n\n", event.seq, json!(event)).into()
}
