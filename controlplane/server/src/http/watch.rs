//! `GET /experiments?watch=true`: server-sent events `added`, `modified`, `deleted`, each with its resource version as id. Without
//! `Last-Event-ID` the stream begins with what there is; with it, behind that version. An experiment that stops being selected is
//! `deleted` for its watcher. The database is the queue, so a slow watcher costs no memory and a returning one misses nothing.

use std::collections::{HashSet, VecDeque};

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use em_api::ExperimentUid;
use futures_util::stream;
use serde_json::{Value, json};

use super::App;
use super::problem::{Answer, Refusal};
use super::stream::{Broken, HELLO, News, Pace, STILL_HERE, Seat, last_event_id};
use crate::store;
use crate::store::experiments::Stored;
use crate::store::filter::Filter;
use crate::store::watch::{Change, ChangeKind};

/// Changes read at a time.
const PAGE: i64 = 20;

struct Watch {
    app: Data<App>,
    since: i64,
    /// The newest version when the stream began, or the one that it goes on from.
    begun_at: i64,
    view: View,
    ready: VecDeque<Bytes>,
    pace: Pace,
    _seat: Seat,
}

/// What the watcher has of the experiments that it selects.
struct View {
    filter: Filter,
    /// It comes back: what it has from before is not known to us.
    resumed: bool,
    has: HashSet<ExperimentUid>,
    has_not: HashSet<ExperimentUid>,
}

/// Errors: 410 `expired` when removals behind the last seen event are forgotten, or when it is none of this server's.
pub(super) async fn watch(app: Data<App>, request: &HttpRequest, filter: Filter) -> Answer {
    let pace = Pace::new(&app);
    let span = app.store.span().await?;
    let resumed = last_event_id(request)?;
    if resumed.is_some_and(|since| since > span.newest || since < span.compacted) {
        return Err(expired());
    }
    let view = View { filter, resumed: resumed.is_some(), has: HashSet::new(), has_not: HashSet::new() };
    let (since, begun_at) = (resumed.unwrap_or(0), resumed.unwrap_or(span.newest));
    let watch = Watch { _seat: Seat::take(&app)?, app, since, begun_at, view, ready: VecDeque::from([HELLO]), pace };
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(stream::try_unfold(watch, |watch| async {
        let next = watch.next().await;
        next.inspect_err(Broken::log)
    })))
}

pub(super) fn expired() -> Refusal {
    let detail =
        "what happened behind this Last-Event-ID is not known any more: watch again without it, which begins with what there is";
    Refusal::new(StatusCode::GONE, "expired", detail)
}

impl Watch {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Broken> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            self.pace.look();
            let changes = self.app.store.changes(self.since, PAGE).await?;
            // Too slow: what it has not seen is forgotten. It comes back, and is told so.
            if self.app.store.span().await?.compacted > self.since.max(self.begun_at) {
                return Ok(None);
            }
            let Some(last) = changes.last().map(|change| change.version) else {
                match self.pace.news(&self.app).await {
                    Ok(News::Some) => continue,
                    Ok(News::Heartbeat) => return Ok(Some((STILL_HERE, self))),
                    // Browsers come back by themselves.
                    Err(Broken::Stopping) => return Ok(None),
                    Err(error) => return Err(error),
                }
            };
            self.make_ready(changes).await?;
            self.since = last;
        }
    }

    async fn make_ready(&mut self, changes: Vec<Change>) -> store::Result<()> {
        let kinds: Vec<_> = changes.iter().map(|change| self.kind(change)).collect();
        let shown = changes.iter().zip(&kinds).filter_map(|(change, kind)| match &change.kind {
            ChangeKind::Written(stored) if kind.is_some_and(|kind| kind != GONE) => Some((**stored).clone()),
            _ => None,
        });
        let mut shown = self.app.store.complete_all(shown.collect()).await?.into_iter();
        for (index, (change, kind)) in changes.iter().zip(kinds).enumerate() {
            let Some(kind) = kind else { continue };
            let data = match &change.kind {
                ChangeKind::Written(stored) if kind == GONE => gone(stored.uid, &stored.name),
                ChangeKind::Written(_) => json!(shown.next()),
                ChangeKind::Removed { uid, name } => gone(*uid, name),
            };
            // Who breaks off within a version sees all of it again.
            let is_last = changes.get(index + 1).is_none_or(|next| next.version != change.version);
            let id = if is_last { format!("id: {}\n", change.version) } else { String::new() };
            self.ready.push_back(Bytes::from(format!("{id}event: {kind}\ndata: {data}\n\n")));
        }
        Ok(())
    }

    /// Which event a change makes, if any.
    fn kind(&mut self, change: &Change) -> Option<&'static str> {
        match &change.kind {
            ChangeKind::Written(stored) => self.view.written(stored, self.since, self.begun_at),
            ChangeKind::Removed { uid, name } => {
                // What went before the stream began was never on it.
                let known = self.view.resumed || change.version > self.begun_at;
                (known && self.view.removed(*uid, name)).then_some(GONE)
            }
        }
    }
}

const GONE: &str = "deleted";

fn gone(uid: ExperimentUid, name: &str) -> Value {
    json!({"metadata": {"uid": uid, "name": name}})
}

impl View {
    /// Which event a changed experiment makes, if any.
    fn written(&mut self, stored: &Stored, since: i64, begun_at: i64) -> Option<&'static str> {
        let created = stored.created_version > since;
        if self.filter.is_empty() {
            return Some(if created { "added" } else { "modified" });
        }
        let uid = stored.uid;
        if self.filter.selects(stored) {
            let had = !self.has.insert(uid);
            let came = self.has_not.remove(&uid) || created || !self.resumed;
            return Some(if came && !had { "added" } else { "modified" });
        }
        let may_have = self.resumed && stored.created_version <= begun_at && self.filter.may_have_selected(stored);
        let had = self.has.remove(&uid) || (may_have && !self.has_not.contains(&uid));
        if self.resumed {
            self.has_not.insert(uid);
        }
        had.then_some(GONE)
    }

    /// Whether the watcher is told of a removal.
    fn removed(&mut self, uid: ExperimentUid, name: &str) -> bool {
        let had_not = self.has_not.remove(&uid);
        self.filter.is_empty() || self.has.remove(&uid) || (self.resumed && !had_not && self.filter.may_have_selected_named(name))
    }
}
