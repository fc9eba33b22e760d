//! Every file in `examples/` is admitted as it is: people start from them.

use std::path::Path;

use super::{admitted, yaml};

#[test]
fn every_example_is_admitted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let admitted = admitted(&yaml(&std::fs::read_to_string(&path).expect("an example")));
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(
                admitted.spec.checks.parity.reference.is_some() || admitted.spec.backends.len() == 1,
                "{name} checks its vectors"
            );
            names.push(name);
        }
    }
    names.sort();
    for expected in ["demo", "modernbert-l40s", "ort-quick"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is missing in {names:?}");
    }
}

#[test]
fn the_demo_is_what_make_demo_promises() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo.yaml");
    let admitted = admitted(&yaml(&std::fs::read_to_string(path).expect("the demo")));
    let trials = admitted.spec.backends.len() * admitted.spec.matrix.batch_sizes.len() * admitted.spec.load.repetitions as usize;
    assert_eq!(trials, 27, "three backends, three batch sizes, three repetitions");
    assert!(admitted.estimated_seconds < 12 * 60, "{} s", admitted.estimated_seconds);
    assert_eq!(admitted.warnings, Vec::<String>::new());
}
