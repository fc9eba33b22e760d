//! How a browser gets in: by a token typed into the page, or by a one-time link from the terminal. Either leaves a cookie that
//! scripts cannot read and other sites cannot use.

use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use em_api::Timestamp;
use em_api::session::SessionLink;
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::access::{self, Caller};
use super::problem::{Answer, Refusal};
use crate::store::access::{Principal, Role};
use crate::store::now;

const LINK_SECONDS: i64 = 5 * 60;
const SESSION_SECONDS: i64 = 7 * 86_400;

/// The address that a link opens.
pub(super) const REDEEM: &str = "/sessions/redeem";

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::scope("/sessions")
            .service(web::resource("").route(web::post().to(sign_in)).route(web::delete().to(sign_out)))
            .service(web::resource("/links").wrap(from_fn(access::viewers)).route(web::post().to(make_link)))
            .service(web::resource("/redeem").route(web::get().to(redeem))),
    );
}

#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// As `emctl` finds it in the state directory.
    token: String,
}

/// Sign a browser in with a token
///
/// Leaves a cookie that opens what the token opens.
#[utoipa::path(
    post,
    path = "/sessions",
    operation_id = "signIn",
    tag = "sessions",
    request_body = SignIn,
    responses(
        (status = 204, description = "Signed in", headers(("Set-Cookie" = String))),
        (status = 401, description = "`unauthorized`: no such token"),
        (status = 403, description = "`foreign_origin`"),
        (status = 413, description = "`too_large`"),
        (status = 415, description = "`unsupported_media_type`, `unsupported_encoding`"),
        (status = 422, description = "`invalid_body`"),
    ),
)]
async fn sign_in(app: Data<App>, request: HttpRequest, body: Json<SignIn>) -> Answer {
    if request.headers().contains_key(header::ORIGIN) {
        access::same_origin(&request)?;
    }
    let who = app.store.token(body.token.trim()).await?.filter(|who| who.role >= Role::Viewer);
    let cookie = open(&app, &request, &who.ok_or_else(Refusal::unauthorized)?).await?;
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish())
}

/// Sign a browser out
#[utoipa::path(
    delete,
    path = "/sessions",
    operation_id = "signOut",
    tag = "sessions",
    responses(
        (status = 204, description = "Signed out", headers(("Set-Cookie" = String))),
        (status = 403, description = "`foreign_origin`"),
    ),
)]
async fn sign_out(app: Data<App>, request: HttpRequest) -> Answer {
    if let Some(secret) = access::session_cookie(&request) {
        access::same_origin(&request)?;
        app.store.close_session(secret).await?;
    }
    let gone = cookie(&app, &request, "", 0);
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, gone)).finish())
}

/// Make a link that signs a browser in
///
/// It works once, within 5 minutes, and by the address by which the caller found the server: through a tunnel it is the tunnel's.
#[utoipa::path(
    post,
    path = "/sessions/links",
    operation_id = "makeLink",
    tag = "sessions",
    responses((status = 201, description = "The link", body = SessionLink)),
    security(("token" = []), ("session" = [])),
)]
async fn make_link(app: Data<App>, request: HttpRequest, Caller(who): Caller) -> Answer {
    let code = app.store.make_link(&who, later(LINK_SECONDS)).await?;
    let connection = request.connection_info();
    let url = format!("{}://{}{REDEEM}?code={code}", connection.scheme(), connection.host());
    Ok(HttpResponse::Created().json(SessionLink { url }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Redeem {
    /// Out of the link.
    code: String,
}

/// Open a link: sign in and go to the dashboard
#[utoipa::path(
    get,
    path = "/sessions/redeem",
    operation_id = "redeemLink",
    tag = "sessions",
    params(Redeem),
    responses(
        (status = 303, description = "Signed in; on to the dashboard", headers(("Set-Cookie" = String), ("Location" = String))),
        (status = 410, description = "`link_spent`"),
    ),
)]
async fn redeem(app: Data<App>, request: HttpRequest, query: Query<Redeem>) -> Answer {
    let Some(who) = app.store.redeem_link(&query.code).await? else {
        let detail = "this link was used already or is older than 5 minutes; `emctl dashboard` makes a new one";
        return Err(Refusal::new(actix_web::http::StatusCode::GONE, "link_spent", detail));
    };
    let cookie = open(&app, &request, &who).await?;
    Ok(HttpResponse::SeeOther().insert_header((header::SET_COOKIE, cookie)).insert_header((header::LOCATION, "/ui/")).finish())
}

async fn open(app: &App, request: &HttpRequest, who: &Principal) -> Answer<String> {
    let secret = app.store.open_session(who, later(SESSION_SECONDS)).await?;
    Ok(cookie(app, request, &secret, SESSION_SECONDS))
}

fn cookie(app: &App, request: &HttpRequest, secret: &str, seconds: i64) -> String {
    let secure = if request.connection_info().scheme() == "https" { "; Secure" } else { "" };
    format!("{}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", app.cookie)
}

fn later(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
