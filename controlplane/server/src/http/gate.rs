//! What every request passes first: bounds on its address and headers, and a body that we can unpack. Behind it all addresses may
//! take both for granted.

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};

use super::problem::{Answer, Refusal};

/// The longest selector that makes sense fits many times.
const LONGEST_ADDRESS: usize = 8 * 1024;
/// Cookies of other services on the same host come along.
const LARGEST_HEADERS: usize = 32 * 1024;

pub(super) fn check(request: &HttpRequest) -> Answer<()> {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address > LONGEST_ADDRESS {
        let detail = format!("the address has {address} characters; at most {LONGEST_ADDRESS} are taken");
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
    }
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > LARGEST_HEADERS {
        let detail = format!("the headers have {size} bytes; at most {LARGEST_HEADERS} are taken");
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail));
    }
    match request.headers().get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("?").trim()) {
        None => Ok(()),
        Some(word) if ["identity", "gzip", "deflate"].iter().any(|known| word.eq_ignore_ascii_case(known)) => Ok(()),
        Some(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "send the body as it is, or packed with gzip or deflate (header Content-Encoding)",
        )),
    }
}
