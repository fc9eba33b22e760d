//! Mistakes, each told with its path and its cure, all at once.

use serde_json::{Value, json};

use super::{admit, refused, set, small, with};

#[test]
fn all_mistakes_come_at_once() {
    let mut body = small();
    set(&mut body, "/spec/load", json!({"durration": "2m", "warmup": 20, "repetitions": 0}));
    set(&mut body, "/spec/matrix", json!({"batchSizes": [0, 16, 16, "x"], "concurrency": [1], "requestRate": [5]}));
    set(&mut body, "/spec/backends/1/type", json!("hugingface"));
    set(
        &mut body,
        "/spec/slurm",
        json!({"time": "4 hours", "memory": "lots", "partition": "gpu\n#SBATCH --uid=0", "cpus_per_task": 4}),
    );
    set(&mut body, "/metadata/name", json!("Small_1"));
    set(&mut body, "/spec/checks", json!({"parity": {"reference": "hff"}}));
    insta::assert_snapshot!(refused(&body).join("\n"), @r#"
    metadata.name: `Small_1` is not a name: up to 63 small letters, digits and `-`, with a letter or digit at both ends
    spec.matrix.batchSizes[0]: expected a whole number from 1 to 8192, found the number 0
    spec.matrix.batchSizes[2]: stands twice in the list
    spec.matrix.batchSizes[3]: expected a whole number from 1 to 8192, found the text "x"
    spec.matrix.requestRate: stands beside `concurrency`; set exactly one of concurrency, requestRate, textRate and findMax
    spec.load.warmup: expected a duration such as 2m, found the number 20
    spec.load.repetitions: expected a whole number from 1 to 100, found the number 0
    spec.load.durration: unknown field `durration`; did you mean `duration`?
    spec.slurm.partition: holds a line break or another control character; write one line of plain text
    spec.slurm.memory: `lots` is not a size; write for example 32G or 512M (a bare number is MB)
    spec.slurm.time: `4 hours` is not a Slurm time; write for example 4h, 90m, 04:00:00 or 1-12:00 (a bare number is minutes)
    spec.slurm.cpus_per_task: unknown field `cpus_per_task`; did you mean `cpusPerTask`?
    spec.backends[1].type: `hugingface` is not a backend type; did you mean `huggingface`? known: ort, vllm, huggingface, tei, openai
    spec.checks.parity.reference: no backend is named `hff`; did you mean `hf`? known: ort, hf
    "#);
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        refused(&json!({})),
        [
            "apiVersion: is required",
            "kind: is required",
            "metadata.name: is required (or `generateName`, to which the server adds five characters)",
            "spec: is required",
        ]
    );
    let mut body = small();
    set(&mut body, "/spec", json!({"backends": [{}]}));
    assert_eq!(
        refused(&body),
        ["spec.model: is required", "spec.backends[0].name: is required", "spec.backends[0].type: is required"]
    );
}

/// One wrong field each: the error stands at that field, alone, and says the quoted words.
#[test]
fn each_mistake_is_told_at_its_place() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/apiVersion", json!("em/v2"), "is not a known API version"),
        ("/kind", json!("experiment"), "did you mean `Experiment`?"),
        ("/metadata/name", json!(""), "must not be empty"),
        ("/metadata/name", json!("../../etc/passwd"), "is not a name"),
        ("/metadata/name", json!("a'; DROP TABLE experiments;--"), "is not a name"),
        ("/metadata/name", json!("-a"), "is not a name"),
        ("/metadata/name", json!("a".repeat(64)), "is not a name"),
        ("/metadata/name", json!(7), "expected a name, found the number 7"),
        ("/metadata/generateName", json!("x-"), "give one of the two"),
        ("/metadata/labels", json!([]), "expected a map of names to values, found a list"),
        ("/metadata/labels", json!({"team": "a b"}), "is not a label value"),
        ("/metadata/labels", json!({"": "x"}), "is not a key"),
        ("/metadata/labels", json!({"a/b/c": "x"}), "is not a key"),
        ("/metadata/labels", json!({"team": 5}), "expected text, found the number 5"),
        ("/metadata/colour", json!("red"), "unknown field `colour`; known here: name"),
        ("/spec/desired", json!("Cancelled"), "is not a state to start in"),
        ("/spec/retries", json!(-1), "from 0 to 100, found the number -1"),
        ("/spec/retries", json!(1.5), "found the number 1.5"),
        ("/spec/retries", json!(1e30), "from 0 to 100"),
        ("/spec/retries", json!(u64::MAX), "from 0 to 100"),
        ("/spec/retries", json!(true), "found true"),
        ("/spec/ttl", json!("1s"), "expected a duration from 1m to"),
        ("/spec/model/id", json!("../../root"), "(a folder goes into `path`)"),
        ("/spec/model/id", json!("/models/x"), "(a folder goes into `path`)"),
        ("/spec/model/id", json!("--trust-remote-code"), "is not a model id"),
        ("/spec/model/id", json!("a/b/c"), "is not a model id"),
        ("/spec/model/revision", json!("../x"), "is not a branch"),
        ("/spec/model/path", json!("models/x"), "is not an absolute path"),
        ("/spec/model/dtype", json!("fp16"), "known: float32, float16"),
        ("/spec/model/maxLength", json!(0), "from 1"),
        ("/spec/model/normalize", json!("yes"), "expected true or false"),
        ("/spec/dataset/source", json!("wordnets"), "did you mean `wordnet`?"),
        ("/spec/dataset/path", json!("/texts"), "built in and takes no path"),
        ("/spec/dataset/limit", json!("lots"), "100K is 100000"),
        ("/spec/dataset/limit", json!(0), "from 1"),
        ("/spec/dataset/limit", json!(8), "cannot fill a request of 32"),
        ("/spec/backends", json!([]), "is empty"),
        ("/spec/backends", json!({}), "expected a list, found an object"),
        ("/spec/backends/0", json!("ort"), "expected an object with named fields"),
        ("/spec/backends/1/name", json!("ort"), "a second backend is named `ort`"),
        ("/spec/backends/0/url", json!("http://h:1"), "belongs to openai and tei"),
        ("/spec/backends/0/python", json!("/usr/bin/python3"), "belongs to vllm and huggingface"),
        ("/spec/backends/0/python", json!("python3"), "is not an absolute path"),
        ("/spec/backends/0/apiKeyFile", json!("/key"), "belongs to openai and tei"),
        ("/spec/backends/0/apiKeyEnv", json!("KEY"), "belongs to openai and tei"),
        ("/spec/backends/0/binary", json!("/opt/router"), "belongs to tei"),
        ("/spec/backends/0/batch", json!(8), "has no effect on ort"),
        ("/spec/backends/0/dtype", json!("float16"), "ort computes in float32, and on cuda in float16"),
        ("/spec/backends/1/dtype", json!("int8"), "cannot compute in int8"),
        ("/spec/backends/0/image", json!("vllm:latest"), "belongs to tei"),
        ("/spec/backends/0/command", json!("serve --port 1"), "expected a list of words"),
        ("/spec/backends/0/command", json!([]), "names no program"),
        ("/spec/backends/0/args", json!("--a"), "expected a list"),
        ("/spec/backends/0/args", json!(["--a\nb"]), "control character"),
        ("/spec/backends/0/env", json!({"A B": "x"}), "is not a name of an environment variable"),
        ("/spec/backends/0/env", json!({"A": "x\0"}), "control character"),
        ("/spec/backends/0/startTimeout", json!("5"), "is not a duration"),
        ("/spec/backends/0/parity", json!("maybe"), "known: report"),
        ("/spec/backends/0/parity", json!({"minCosine": 1.5}), "from 0 to 1"),
        ("/spec/backends/0/parity", json!({}), "is required"),
        ("/spec/backends/0/sweep", json!({"x": []}), "list the values"),
        ("/spec/backends/0/sweep", json!({"x": [true]}), "expected a number or text"),
        ("/spec/backends/0/sweep", json!({"--x": [1]}), "without its dashes"),
        ("/spec/backends/0/sweep", json!({"x": ["long".repeat(20)]}), "shorten the backend's name"),
        ("/spec/backends/0/sweep", json!({"x": (0..65).collect::<Vec<_>>()}), "makes 65 variants"),
        ("/spec/backends/0/sweep", json!({"a": (0..9).collect::<Vec<_>>(), "b": (0..9).collect::<Vec<_>>()}), "makes 81 variants"),
        ("/spec/matrix/batchSizes", json!([8193]), "from 1 to 8192"),
        ("/spec/matrix/batchSizes", json!([]), "is empty"),
        ("/spec/matrix/concurrency", json!([10_001]), "from 1 to 10000"),
        ("/spec/matrix/requestRate", json!([0]), "a number from 0.001"),
        ("/spec/matrix/findMax", json!({"probe": "30s"}), "is required"),
        ("/spec/matrix/findMax", json!({"p99Ms": 50, "probe": "100ms"}), "from 1s to 1h"),
        ("/spec/matrix/concurrencies", json!([1]), "did you mean `concurrency`?"),
        ("/spec/load/duration", json!("2"), "is not a duration"),
        ("/spec/load/duration", json!("500ms"), "from 1s to 1d"),
        ("/spec/load/duration", json!({}), "expected a duration such as 2m, found an object"),
        ("/spec/load/repetitions", json!(101), "from 1 to 100"),
        ("/spec/load/arrival", json!("poisson"), "belongs to open loop"),
        ("/spec/load/ramp", json!({"from": 1}), "over: is required"),
        ("/spec/load/ramp", json!({"from": 1, "over": "1m"}), "belongs to open loop: set `matrix.requestRate`"),
        ("/spec/load/trace", json!("/trace"), "belongs to open loop"),
        ("/spec/load/placement", json!("separateNode"), "is not available yet"),
        ("/spec/load/textTokens", json!({"min": 9, "max": 3}), "is above `max`"),
        ("/spec/load/wire", json!("grpc"), "known: openai-float"),
        ("/spec/checks/parity/reference", json!("hff"), "did you mean `hf`? known: ort, hf"),
        ("/spec/slo/p99Ms", json!(-1), "a number from"),
        ("/spec/cost", json!({"currency": "EUR"}), "is required"),
        ("/spec/slurm/time", json!(1), "too short for a single trial of 3 min"),
        ("/spec/slurm/time", json!("99999h"), "at most 366"),
        ("/spec/slurm/gpus", json!("l40s"), "is not a number of GPUs"),
        ("/spec/slurm/gpus", json!(0), "is not a number of GPUs"),
        ("/spec/slurm/nodes", json!(2), "is not available yet"),
        ("/spec/slurm/account", json!("a\u{1b}[2J"), "control character"),
        ("/spec/slurm/qos", json!("x".repeat(3000)), "Slurm takes 1023 at most"),
        ("/spec/slurm/setup", json!(["a\nb"]), "control character"),
        ("/spec/slurm/modules", json!(["cuda; rm -rf /"]), "is not the name of an environment module"),
        ("/spec/slurm/extraArgs", json!(["--job-name=x"]), "is set by us"),
        ("/spec/slurm/extraArgs", json!(["-p", "gpu"]), "must be a long option"),
        ("/spec/slurm/prepare", json!(true), "is not available yet"),
        ("/spec/slurm/env", json!({"A": [1]}), "expected text"),
        ("/spec/duration", json!("2m"), "unknown field `duration`"),
    ];
    for (pointer, value, words) in cases {
        let errors = refused(&with(pointer, value.clone()));
        let path = pointer[1..].replace("/0", "[0]").replace("/1", "[1]").replace('/', ".");
        assert!(!errors.is_empty(), "{pointer} = {value} was admitted");
        assert!(errors[0].starts_with(&path) && errors[0].contains(words), "{pointer} = {value}: {errors:?}");
    }
}

#[test]
fn a_ramp_and_a_trace_have_rules_of_their_own() {
    let open = |matrix: Value, load: Value| {
        let mut body = small();
        set(&mut body, "/spec/matrix", matrix);
        set(&mut body, "/spec/load", load);
        body
    };
    let rate = || json!({"requestRate": [200]});
    for (body, words) in [
        (open(json!({"requestRate": [100, 200]}), json!({"ramp": {"from": 1, "over": "1m"}})), "must be a single one; it has 2"),
        (
            open(rate(), json!({"ramp": {"from": 1, "to": 100, "over": "1m"}})),
            "spec.load.ramp.to: is not the level of the matrix (200)",
        ),
        (open(rate(), json!({"ramp": {"from": 1, "over": "3m"}})), "longer than the window of 2m"),
        (open(rate(), json!({"ramp": {"from": 1, "over": "1m"}, "trace": "/x"})), "spec.load.trace: stands beside `ramp`"),
        (open(rate(), json!({"trace": "x.csv"})), "must be an absolute path"),
        (open(json!({"findMax": {"p99Ms": 50}}), json!({"trace": "/x.csv"})), "belongs to open loop"),
        (
            open(json!({"findMax": {"p99Ms": 50}, "concurrency": [1]}), json!({})),
            "spec.matrix.findMax: stands beside `concurrency`",
        ),
    ] {
        let errors = refused(&body);
        assert!(errors.len() == 1 && errors[0].contains(words), "{words}: {errors:?}");
    }
    let ramp = admit(&open(rate(), json!({"ramp": {"from": 20, "over": "1m"}}))).expect("admitted").spec.load.ramp.expect("a ramp");
    assert_eq!((ramp.from, ramp.to), (20.0, 200.0), "it ends at the level");
    assert_eq!(refused(&open(json!({"textRate": [100, 200]}), json!({"trace": "/x.csv"}))), Vec::<String>::new());
    let search = admit(&open(json!({"findMax": {"p99Ms": 50}}), json!({"arrival": "poisson"}))).expect("admitted");
    assert_eq!(serde_json::to_value(&search.spec.matrix).expect("JSON")["findMax"], json!({"p99Ms": 50.0, "probe": "30s"}));
    let alike = serde_json::to_value(em_api::spec::LoadLevel::FindMax(search.spec.matrix.find_max.expect("set"))).expect("JSON");
    assert_eq!(alike, json!({"findMax": {"p99Ms": 50.0, "probe": "30s"}}));
}

#[test]
fn a_wire_must_be_spoken_by_every_backend() {
    let mut body = with("/spec/load/wire", json!("embed"));
    assert_eq!(refused(&body), Vec::<String>::new());
    set(&mut body, "/spec/backends/1/type", json!("vllm"));
    assert!(refused(&body)[0].starts_with("spec.backends[1].type: vllm does not speak the wire `embed`"), "{:?}", refused(&body));
    set(&mut body, "/spec/load/wire", json!("tei"));
    assert_eq!(refused(&body).len(), 2, "neither ort nor vllm");
    set(&mut body, "/spec/backends", json!([{"name": "tei", "type": "tei", "url": "http://localhost:8080"}]));
    assert_eq!(refused(&body), Vec::<String>::new());
}

#[test]
fn a_running_server_takes_no_settings() {
    let body =
        with("/spec/backends/0", json!({"name": "far", "type": "openai", "url": "https://user:secret@host/v1", "args": ["--x"]}));
    let errors = refused(&body);
    assert!(errors[0].contains("must not hold a user or password") && !errors[0].contains("secret"), "{errors:?}");
    let body =
        with("/spec/backends/0", json!({"name": "far", "type": "openai", "url": "https://host/v1", "args": ["--x"], "batch": 4}));
    let errors = refused(&body);
    assert_eq!(errors.len(), 2, "{errors:?}");
    let errors = refused(&with("/spec/backends/0", json!({"name": "far", "type": "openai"})));
    assert_eq!(errors, ["spec.backends[0].url: openai needs `url` (a server that runs already) or `command` (one to start)"]);
    let errors = refused(&with("/spec/backends/0", json!({"name": "far", "type": "tei"})));
    assert_eq!(errors, Vec::<String>::new(), "its program is looked for on the node");
    let both =
        json!({"name": "far", "type": "tei", "url": "http://host", "apiKeyFile": "/key", "apiKeyEnv": "KEY", "image": "tei.sif"});
    let errors = refused(&with("/spec/backends/0", both));
    assert!(errors.len() == 2 && errors[0].contains("give one of the two") && errors[1].contains("no effect"), "{errors:?}");
}

#[test]
fn a_reference_that_is_no_backend_is_told_beside_the_faults_of_backends() {
    let mut body = with("/spec/checks", json!({"parity": {"reference": "hff"}}));
    set(&mut body, "/spec/backends/0/device", json!("gpu"));
    let errors = refused(&body);
    assert!(errors.len() == 2 && errors[1].contains("did you mean `hf`"), "{errors:?}");
    set(&mut body, "/spec/model", json!({}));
    assert_eq!(refused(&body).len(), 3, "nor does a missing model hide it: {:?}", refused(&body));
    // The name of a variant cannot be known when its sweep is wrong.
    set(&mut body, "/spec/backends/0/sweep", json!({"x": []}));
    set(&mut body, "/spec/checks/parity/reference", json!("ort-x-1"));
    assert!(!refused(&body).iter().any(|error| error.contains("no backend is named")), "{:?}", refused(&body));
}

#[test]
fn a_matrix_beyond_the_bound_is_refused_however_large() {
    let mut body =
        with("/spec/matrix", json!({"batchSizes": (1..=64).collect::<Vec<_>>(), "concurrency": (1..=64).collect::<Vec<_>>()}));
    set(&mut body, "/spec/load/repetitions", json!(100));
    assert_eq!(refused(&body), ["spec.matrix: makes 819200 trials with the backends and repetitions; at most 10000 are allowed"]);
}

#[test]
fn hostile_bodies_make_small_answers() {
    let mut fields = serde_json::Map::new();
    for index in 0..5_000 {
        fields.insert(format!("\u{1b}[31m{index}{}", "x".repeat(300)), json!(1));
    }
    let errors = admit(&with("/spec/load", Value::Object(fields))).expect_err("unknown fields");
    assert!(errors.len() <= 100, "{}", errors.len());
    for error in errors {
        assert!(error.path.len() < 200 && error.message.len() < 600, "{error:?}");
        assert!(!error.message.contains('\u{1b}') && !error.path.contains('\u{1b}'), "{error:?}");
    }
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "load": deep });
    }
    assert!(!refused(&with("/spec/load", deep)).is_empty());
}
