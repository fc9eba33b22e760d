//! `GET /experiments?watch=true`: server-sent events `added`, `modified`, `deleted`, each with its resource version as id. Without
//! `Last-Event-ID` the stream begins with what there is; with it, behind that version. The database is the queue, so a slow
//! watcher costs no memory and a returning one misses nothing.

use std::collections::VecDeque;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use em_api::experiment::Experiment;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

use super::App;
use super::problem::{Answer, Refusal};
use super::selector::Selector;
use super::stream::{Broken, News, Seat, news};
use crate::store::watch::{Change, ChangeKind};

/// Changes read at a time.
const PAGE: i64 = 50;

struct Watch {
    app: Data<App>,
    selector: Selector,
    since: i64,
    ready: VecDeque<Bytes>,
    versions: Receiver<i64>,
    _seat: Seat,
}

pub(super) fn watch(app: Data<App>, request: &HttpRequest, selector: Selector) -> Answer {
    let versions = app.store.versions();
    let since = match last_event_id(request)? {
        Some(since) if since > *versions.borrow() => {
            let detail = "this server does not know that version: watch again without Last-Event-ID";
            return Err(Refusal::new(StatusCode::GONE, "expired", detail));
        }
        Some(since) => since,
        None => 0,
    };
    // The first bytes go out at once: browsers take the stream as open then.
    let ready = VecDeque::from([Bytes::from_static(b"retry: 2000\n\n")]);
    let watch = Watch { _seat: Seat::take(&app)?, app, selector, since, ready, versions };
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(stream::try_unfold(watch, |watch| async {
        let next = watch.next().await;
        next.inspect_err(Broken::log)
    })))
}

pub(super) fn last_event_id(request: &HttpRequest) -> Answer<Option<i64>> {
    let Some(id) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.parse().ok()).filter(|id| *id >= 0);
    id.map(Some).ok_or_else(|| Refusal::bad_request("invalid_header", "Last-Event-ID is the id of an event of this stream"))
}

impl Watch {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            self.versions.borrow_and_update();
            let changes = self.app.store.changes(self.since, PAGE).await?;
            let Some(last) = changes.last() else {
                match news(&self.app, &mut self.versions).await {
                    Ok(News::Some) => continue,
                    Ok(News::Heartbeat) => return Ok(Some((Bytes::from_static(b": still here\n\n"), self))),
                    // Browsers come back by themselves.
                    Err(Broken::Stopping) => return Ok(None),
                    Err(error) => return Err(error),
                }
            };
            self.since = last.version;
            self.ready.extend(changes.iter().filter_map(|change| event(change, &self.selector)));
        }
    }
}

fn event(change: &Change, selector: &Selector) -> Option<Bytes> {
    let selected = |experiment: &Experiment| selector.selects(&experiment.metadata.labels).then(|| json!(experiment));
    let (kind, data): (&str, Value) = match &change.kind {
        ChangeKind::Added(experiment) => ("added", selected(experiment)?),
        ChangeKind::Modified(experiment) => ("modified", selected(experiment)?),
        ChangeKind::Deleted { uid, name } => ("deleted", json!({"metadata": {"uid": uid, "name": name}})),
    };
    Some(format!("id: {}\nevent: {kind}\ndata: {data}\n\n", change.version).into())
}
