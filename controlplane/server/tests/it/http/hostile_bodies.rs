//! Bodies that nobody should send: each is refused with a stable code, and nothing of it is stored.

use std::io::Write as _;

use serde_json::{Value, json};

use super::server::{Server, experiment};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// A valid experiment with one field replaced or added.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = experiment("demo");
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        _ => panic!("{pointer} leads nowhere"),
    }
    body
}

/// Well-formed, and wrong at one place.
fn wrong_fields() -> Vec<(&'static str, Value)> {
    let mut many_labels = serde_json::Map::new();
    (0..65).for_each(|number| drop(many_labels.insert(format!("k{number}"), json!("v"))));
    vec![
        ("/apiVersion", json!("em/v2")),
        ("/apiVersion", json!(["em/v1alpha1"])),
        ("/kind", json!("Pod")),
        ("/metadata", json!(null)),
        ("/metadata", json!("demo")),
        ("/metadata", json!({"generateName": "A-"})),
        ("/metadata", json!({"generateName": "a".repeat(59)})),
        ("/metadata", json!({"generateName": "../"})),
        ("/metadata", json!({"name": "a", "generateName": "b"})),
        ("/metadata/name", json!(null)),
        ("/metadata/name", json!({"a": 1})),
        ("/metadata/name", json!("")),
        ("/metadata/name", json!("Demo")),
        ("/metadata/name", json!("a_b")),
        ("/metadata/name", json!("a.b")),
        ("/metadata/name", json!("-a")),
        ("/metadata/name", json!("a-")),
        ("/metadata/name", json!("a b")),
        ("/metadata/name", json!("a\nb")),
        ("/metadata/name", json!("a\u{0}b")),
        ("/metadata/name", json!("a".repeat(64))),
        ("/metadata/name", json!("a".repeat(100_000))),
        ("/metadata/name", json!("dеmo")),
        ("/metadata/name", json!("😀")),
        ("/metadata/name", json!("demo\u{202e}")),
        ("/metadata/name", json!("'; DROP TABLE experiments; --")),
        ("/metadata/name", json!("x' OR '1'='1")),
        ("/metadata/name", json!("../../etc/passwd")),
        ("/metadata/name", json!("..")),
        ("/metadata/name", json!("%2e%2e%2f")),
        ("/metadata/name", json!("$(reboot)")),
        ("/metadata/name", json!("a/b")),
        ("/metadata/labels", json!(["a"])),
        ("/metadata/labels", json!({"a": {"b": "c"}})),
        ("/metadata/labels", json!({"a b": "c"})),
        ("/metadata/labels", json!({"": "c"})),
        ("/metadata/labels", json!({"/": "c"})),
        ("/metadata/labels", json!({"A..b/c": "c"})),
        ("/metadata/labels", json!({"a": "b c"})),
        ("/metadata/labels", json!({"a": "v".repeat(64)})),
        ("/metadata/labels", json!({"a": "b\u{0}"})),
        ("/metadata/labels", Value::Object(many_labels)),
        ("/metadata/annotations", json!({"a": "v".repeat(65 * 1024)})),
        ("/metadata/annotations", json!({"a\u{0}": "v"})),
        ("/metadata/labells", json!({})),
        ("/spec", json!(null)),
        ("/spec", json!("all")),
        ("/spec/__proto__", json!({"a": 1})),
        ("/spec/desired", json!("Cancelled")),
        ("/spec/desired", json!(true)),
        ("/spec/model", json!("bert")),
        ("/spec/model/id", json!(7.5)),
        ("/spec/model/id", json!("a\nb")),
        ("/spec/model/dtype", json!("float8")),
        ("/spec/model/maxLength", json!(1e30)),
        ("/spec/model/maxLength", json!(-1)),
        ("/spec/model/maxLength", json!(0.5)),
        ("/spec/dataset/limit", json!("many")),
        ("/spec/dataset/limit", json!(-1)),
        ("/spec/dataset/limit", json!(u64::MAX)),
        ("/spec/dataset/source", json!("ftp")),
        ("/spec/dataset/seed", json!(1e300)),
        ("/spec/backends", json!({})),
        ("/spec/backends", json!([])),
        ("/spec/backends", json!([7])),
        ("/spec/backends/0/type", json!("orrt")),
        ("/spec/backends/0/name", json!("ort")),
        ("/spec/backends/0/args", json!({"a": 1})),
        ("/spec/backends/0/env", json!({"A=B": "c"})),
        ("/spec/backends/0/startTimeout", json!("1e99h")),
        ("/spec/matrix", json!([])),
        ("/spec/matrix/batchSizes", json!("16")),
        ("/spec/matrix/batchSizes", json!([])),
        ("/spec/matrix/batchSizes", json!([0])),
        ("/spec/matrix/batchSizes", json!([-16])),
        ("/spec/matrix/batchSizes", json!([16.5])),
        ("/spec/matrix/batchSizes", json!([1e18])),
        ("/spec/matrix/batchSizes", json!([[16]])),
        ("/spec/matrix/batchSizes", json!((1..=20_000).collect::<Vec<u32>>())),
        ("/spec/matrix/requestRate", json!([10])),
        ("/spec/matrix/concurrency", json!([u64::MAX])),
        ("/spec/load/duration", json!("forever")),
        ("/spec/load/duration", json!("-10s")),
        ("/spec/load/duration", json!([])),
        ("/spec/load/duration", json!("99999999999999999999d")),
        ("/spec/load/repetitions", json!(0)),
        ("/spec/load/repetitions", json!(1e9)),
        ("/spec/load/repetitions", json!("3 or 4")),
        ("/spec/load/timeout", json!(false)),
        ("/spec/slo", json!({"p99Ms": -1})),
        ("/spec/cost", json!({"perGpuHour": "free"})),
        ("/spec/slurm/time", json!("yesterday")),
        ("/spec/slurm/partition", json!("main\n#SBATCH --uid=0")),
        ("/spec/slurm/cpusPerTask", json!(0)),
        ("/spec/slurm/memory", json!("lots")),
        ("/spec/slurm/env", json!({"A": "b\u{0}c"})),
        ("/spec/slurm/extraArgs", json!(["--wrap=reboot"])),
        ("/spec/retries", json!(101)),
        ("/spec/retries", json!(-1)),
        ("/spec/priority", json!(1e20)),
        ("/spec/ttl", json!("1s")),
        ("/spec/ttl", json!("1000000y")),
        ("/spce", json!({})),
    ]
}

/// Not well-formed, or more than anybody writes by hand.
fn unreadable() -> Vec<(&'static str, &'static str, Vec<u8>, u16, &'static str)> {
    let malformed = |what, kind, body: &[u8]| (what, kind, body.to_vec(), 400, "malformed_body");
    let nested = |open: &str, close: &str| [open.repeat(10_000), close.repeat(10_000)].concat().into_bytes();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    }
    let mut merges = "m0: &m0 {k: v}\n".to_owned();
    for level in 1..40 {
        merges.push_str(&format!("m{level}: &m{level} {{<<: [*m{0}, *m{0}], k{level}: v}}\n", level - 1));
    }
    let valid = serde_json::to_string(&experiment("demo")).unwrap();
    let twice = valid.replacen("\"kind\"", "\"spec\":{},\"kind\"", 1);
    let deep_twice = valid.replacen("\"duration\":\"10s\"", "\"duration\":\"10s\",\"duration\":\"20s\"", 1);
    assert!(twice != valid && deep_twice != valid);
    let mut text = valid.replace("\"limit\":1000", "\"limit\":1e999");
    assert!(text != valid);
    let huge = std::mem::take(&mut text).into_bytes();
    vec![
        malformed("nothing", JSON, b""),
        malformed("half", JSON, &valid.as_bytes()[..valid.len() / 2]),
        malformed("two values", JSON, format!("{valid}{valid}").as_bytes()),
        malformed("not a number", JSON, b"{\"spec\": NaN}"),
        malformed("infinity", JSON, b"{\"spec\": -Infinity}"),
        malformed("a number beyond all", JSON, &huge),
        malformed("a leading zero", JSON, b"{\"spec\": 01}"),
        malformed("single quotes", JSON, b"{'spec': 1}"),
        malformed("a comment", JSON, b"{\"spec\": 1 /* one */}"),
        malformed("a trailing comma", JSON, b"{\"spec\": 1,}"),
        malformed("a key without quotes", JSON, b"{spec: 1}"),
        malformed("UTF-16", JSON, b"\xff\xfe{\x00}\x00"),
        malformed("a byte that is no UTF-8", JSON, b"{\"spec\": \"\xff\"}"),
        malformed("an overlong slash", JSON, b"{\"spec\": \"\xc0\xaf\"}"),
        malformed("an encoded surrogate", JSON, b"{\"spec\": \"\xed\xa0\x80\"}"),
        malformed("half a surrogate pair", JSON, b"{\"spec\": \"\\ud800\"}"),
        malformed("a raw NUL", JSON, b"{\"spec\": \"\x00\"}"),
        malformed("arrays 10,000 deep", JSON, &nested("[", "]")),
        malformed("objects 10,000 deep", JSON, &nested("{\"a\":", "}")),
        malformed("a key twice", JSON, twice.as_bytes()),
        malformed("a deep key twice", JSON, deep_twice.as_bytes()),
        malformed("YAML that never closes", YAML, b"spec: [1, 2"),
        malformed("tabs", YAML, b"spec:\n\tmodel: x"),
        malformed("a key twice in YAML", YAML, b"kind: a\nkind: b"),
        malformed("an alias bomb", YAML, bomb.as_bytes()),
        malformed("a bomb of merge keys", YAML, merges.as_bytes()),
        malformed("an alias of nothing", YAML, b"spec: *nothing"),
        malformed("an alias of itself", YAML, b"spec: &a [*a]"),
        malformed("flow 10,000 deep", YAML, &nested("[", "]")),
        malformed("blocks 10,000 deep", YAML, "- ".repeat(10_000).as_bytes()),
        malformed("two documents", YAML, b"kind: a\n---\nkind: b"),
        malformed("no number in YAML", YAML, b"spec: .nan"),
        malformed("bad UTF-8 in YAML", YAML, b"spec: \xff\xfe"),
        malformed("a NUL in YAML", YAML, b"spec: a\x00b"),
        ("10 MB", JSON, format!("\"{}\"", "x".repeat(10 << 20)).into_bytes(), 413, "too_large"),
        ("10 MB of YAML", YAML, format!("a: {}", "x".repeat(10 << 20)).into_bytes(), 413, "too_large"),
        ("XML", "application/xml", b"<spec/>".to_vec(), 415, "unsupported_media_type"),
        ("a form", "application/x-www-form-urlencoded", b"spec=1".to_vec(), 415, "unsupported_media_type"),
        ("parts", "multipart/form-data; boundary=x", b"--x--".to_vec(), 415, "unsupported_media_type"),
        ("a JSON patch", "application/json-patch+json", b"[]".to_vec(), 415, "unsupported_media_type"),
        ("almost JSON", "application/jsonp", b"{}".to_vec(), 415, "unsupported_media_type"),
        ("no type at all", "", b"{}".to_vec(), 415, "unsupported_media_type"),
    ]
}

#[tokio::test]
async fn a_wrong_field_is_422_and_nothing_is_stored() {
    let server = Server::start().await;
    server.post(experiment("there")).await;
    let before = server.all_rows().await;
    let mut wrong = Vec::new();
    for (pointer, value) in wrong_fields() {
        let body = serde_json::to_vec(&with(pointer, value.clone())).unwrap();
        for path in ["/experiments", "/experiments?dryRun=true"] {
            let length = body.len().to_string();
            let lines: [(&str, &[u8]); 2] = [("Content-Type", JSON.as_bytes()), ("Content-Length", length.as_bytes())];
            let reply = server.raw("POST", path.as_bytes(), &lines, &body).await.expect("an answer");
            let what = format!("{path} {pointer} {}", value.to_string().chars().take(60).collect::<String>());
            wrong.extend(reply.differs_from(422, "invalid_spec").map(|difference| format!("{what}: {difference}")));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.post(experiment("demo")).await;
    server.stop().await;
}

#[tokio::test]
async fn an_unreadable_body_is_refused_wherever_bodies_are_taken() {
    let server = Server::start().await;
    server.post(experiment("there")).await;
    let before = server.all_rows().await;
    let mut wrong = Vec::new();
    for (what, kind, body, status, code) in unreadable() {
        for (method, path) in [("POST", "/experiments"), ("PATCH", "/experiments/there")] {
            let length = body.len().to_string();
            let lines: [(&str, &[u8]); 2] = [("Content-Type", kind.as_bytes()), ("Content-Length", length.as_bytes())];
            let reply = server.raw(method, path.as_bytes(), &lines, &body).await.expect("an answer");
            wrong.extend(reply.differs_from(status, code).map(|difference| format!("{method} {what}: {difference}")));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.post(experiment("demo")).await;
    server.stop().await;
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_the_same_bounds() {
    let server = Server::start().await;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let valid = gzip(&serde_json::to_vec(&experiment("demo")).unwrap());
    let bomb = gzip(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 1 << 20, "it fits while it is packed");
    for (what, encoding, body, status, code) in [
        ("a bomb", "gzip", &bomb, 413, "too_large"),
        ("no gzip", "gzip", &b"{}".to_vec(), 400, "malformed_body"),
        ("half of it", "gzip", &valid[..valid.len() / 2].to_vec(), 400, "malformed_body"),
        ("another packing", "br", &valid, 415, "unsupported_encoding"),
        ("packed twice", "gzip, gzip", &valid, 415, "unsupported_encoding"),
    ] {
        let length = body.len().to_string();
        let lines: [(&str, &[u8]); 3] = [
            ("Content-Type", b"application/json"),
            ("Content-Encoding", encoding.as_bytes()),
            ("Content-Length", length.as_bytes()),
        ];
        let reply = server.raw("POST", b"/experiments", &lines, body).await.expect("an answer");
        assert_eq!(reply.differs_from(status, code), None, "{what}");
    }
    assert_eq!(server.rows("experiments").await, 0);
    let length = valid.len().to_string();
    let lines: [(&str, &[u8]); 2] = [("Content-Encoding", b"GZIP"), ("Content-Length", length.as_bytes())];
    assert_eq!(server.raw("POST", b"/experiments", &lines, &valid).await.unwrap().status, 201);
    server.stop().await;
}
