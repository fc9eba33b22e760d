//! `HEAD` wherever there is `GET`: answered by the same handler, and without the body. Where reading takes something away (a link
//! that opens a session once), there is no `HEAD`: programs that look at links use it.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;

use super::sessions::REDEEM;

/// Routes a `HEAD` as `GET`; whether it did.
pub(super) fn as_get(request: &mut ServiceRequest) -> bool {
    let head = *request.method() == Method::HEAD && request.path() != REDEEM;
    if head {
        request.head_mut().method = Method::GET;
    }
    head
}

/// Leaves the length and drops the rest: a stream ends here.
pub(super) fn without_body(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    answer.map_body(|_, body| NoBody(body.size()).boxed())
}

/// Where there is `GET`, there is `HEAD`.
pub(super) fn allow_too(answer: &mut ServiceResponse<BoxBody>) {
    if answer.request().path() == REDEEM {
        return;
    }
    let Some(allow) = answer.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()) else { return };
    if allow.split(',').any(|word| word.trim() == "GET")
        && let Ok(longer) = HeaderValue::from_str(&format!("{allow}, HEAD"))
    {
        answer.headers_mut().insert(header::ALLOW, longer);
    }
}

struct NoBody(BodySize);

impl MessageBody for NoBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
