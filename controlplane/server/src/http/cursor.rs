//! `continue`: where the next page of a list begins, as a word that callers hand back and need not understand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::{Answer, Refusal};
use crate::admit::name_error;

const VERSION: &str = "v1:";

pub(super) fn write(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}{name}"))
}

/// The name behind which the page begins.
pub(super) fn read(cursor: &str) -> Answer<String> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let name = text.as_deref().and_then(|text| text.strip_prefix(VERSION)).filter(|name| name_error(name).is_none());
    name.map(str::to_owned).ok_or_else(|| {
        let detail = "continue is the `continue` of the page before, as it was; leave it out to begin anew";
        Refusal::bad_request("invalid_cursor", detail)
    })
}
