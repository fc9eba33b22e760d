//! Bytes that are no experiment: a problem with a code, never a panic, and never half a file.

use serde_json::json;

use super::super::parse_body;
use super::{refused, small, yaml};

#[test]
fn yaml_and_json_give_the_same_value() {
    let text = serde_saphyr::to_string(&small()).expect("YAML");
    assert_eq!(yaml(&text), small());
    let bytes = serde_json::to_vec(&small()).expect("JSON");
    assert_eq!(parse_body(&bytes, None).expect("JSON by default"), small());
    assert_eq!(parse_body(&bytes, Some("application/json; charset=utf-8")).expect("JSON"), small());
}

#[test]
fn yaml_words_keep_their_meaning() {
    let value = yaml("{a: 04:00:00, b: 2m, c: yes, d: 240, e: 1-12, f: null, g: 0.5, h: true, i: '8', j: 32G}");
    let expected = json!({"a": "04:00:00", "b": "2m", "c": "yes", "d": 240, "e": "1-12", "f": null, "g": 0.5, "h": true, "i": "8", "j": "32G"});
    assert_eq!(value, expected);
}

#[test]
fn what_is_not_well_formed_is_told_with_a_code() {
    let deep = "[".repeat(100_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*e,*e,*e,*e,*e,*e,*e,*e,*e]";
    for (body, kind, code) in [
        (&b"{"[..], "application/json", "malformed_body"),
        (b"", "application/json", "malformed_body"),
        (b"{\"a\":1}{\"a\":1}", "application/json", "malformed_body"),
        (b"{\"a\": 1e999}", "application/json", "malformed_body"),
        (b"{\"a\": NaN}", "application/json", "malformed_body"),
        (b"{\"a\":1,\"b\":2,\"a\":3}", "application/json", "malformed_body"),
        (b"{\"x\":{\"a\":1,\"a\":3}}", "application/json", "malformed_body"),
        (b"\xff\xfe{", "application/json", "malformed_body"),
        (b"{\"a\":\"\xff\"}", "application/json", "malformed_body"),
        (deep.as_bytes(), "application/json", "malformed_body"),
        (deep.as_bytes(), "application/yaml", "malformed_body"),
        (b"a: 1\nb: 2\na: 3", "application/yaml", "malformed_body"),
        (b"a: .nan", "application/yaml", "malformed_body"),
        (b"a: .inf", "application/yaml", "malformed_body"),
        (b"a: [1, 2", "application/yaml", "malformed_body"),
        (b"a: 1\n---\na: 2", "application/yaml", "malformed_body"),
        (b"a: \xff", "application/yaml", "malformed_body"),
        (bomb.as_bytes(), "application/yaml", "malformed_body"),
        (b"a=1", "application/x-www-form-urlencoded", "unsupported_media_type"),
        (b"{}", "", "unsupported_media_type"),
        (b"{}", "text/html", "unsupported_media_type"),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let problem = parse_body(body, Some(kind)).expect_err(&shown);
        assert_eq!(problem.code, code, "{shown}");
        assert!(problem.detail.len() < 600 && !problem.detail.contains('\n'), "{}", problem.detail);
    }
}

#[test]
fn a_key_that_stands_twice_is_named() {
    let problem = parse_body(b"{\"spec\":{\"retries\":1,\"retries\":2}}", None).expect_err("twice");
    assert!(problem.detail.contains("`retries` stands twice"), "{}", problem.detail);
}

#[test]
fn values_that_are_no_object_are_told_so() {
    for body in [json!(null), json!([]), json!("x"), json!(1), json!([[[[]]]])] {
        let errors = refused(&body);
        assert_eq!(errors, [": expected an experiment: an object with apiVersion, kind, metadata and spec"]);
    }
}
