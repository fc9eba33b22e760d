//! The corpus of hostile strings through bash: in every place of the script that carries a string.

use std::process::{Command, Stdio};

use super::*;
use crate::hostile::hostile;

fn script(job_dir: PathBuf, agent: Vec<String>) -> JobScript {
    JobScript {
        name: "em-1a2b3c4d-01J".to_owned(),
        comment: "em".to_owned(),
        options: JobOptions::default(),
        job_dir,
        modules: Vec::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        agent,
    }
}

fn bash(script: &JobScript) -> Command {
    let file = script.job_dir.join(SCRIPT_FILE);
    std::fs::write(&file, script.render()).expect("the script is written");
    let mut command = Command::new("bash");
    command.arg(&file).current_dir(&script.job_dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // As a site's module system would be there.
    command.env("BASH_FUNC_module%%", "() { printf '%s\\0' \"$@\" >> modules\n}");
    command
}

#[test]
fn arguments_values_and_modules_arrive_as_they_were_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let canary = dir.path().join("canary");
    let strings: Vec<String> = hostile(&canary.to_string_lossy()).into_iter().filter(|text| !text.contains('\0')).collect();
    let dump = "printf '%s\\0' \"$@\" > arguments; for ((i = 0; ; i++)); do name=V$i; [ -v $name ] || break; printf '%s\\0' \"${!name}\"; done > values";
    let words = ["bash", "-c", dump, "agent"].map(str::to_owned).into_iter().chain(strings.iter().cloned()).collect();
    let mut script = script(dir.path().to_owned(), words);
    script.env = strings.iter().enumerate().map(|(number, text)| (format!("V{number}"), text.clone())).collect();
    script.modules.clone_from(&strings);
    let output = bash(&script).output().expect("bash runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name| {
        let text = std::fs::read_to_string(dir.path().join(name)).expect(name);
        text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(read("arguments"), strings);
    assert_eq!(read("values"), strings);
    let loaded: Vec<String> = strings.iter().flat_map(|text| ["load".to_owned(), text.clone()]).collect();
    assert_eq!(read("modules"), loaded);
    assert!(!canary.exists(), "a string became code");
}

#[test]
fn a_job_directory_of_any_name_is_entered_and_gets_its_witness() {
    let dir = tempfile::tempdir().expect("a folder");
    let canary = dir.path().join("canary");
    let mut running = Vec::new();
    for (number, text) in hostile(&canary.to_string_lossy()).into_iter().enumerate() {
        let job_dir = dir.path().join(number.to_string()).join(text.trim_start_matches('/')).join("end");
        let script = script(job_dir, vec!["touch".to_owned(), "arrived".to_owned()]);
        // Paths that Slurm misreads are refused, and no danger to bash either.
        let misread = text.contains(['\\', '%']) || text.chars().any(char::is_control);
        let refused: Vec<_> = script.validate().into_iter().map(|error| error.field).collect();
        assert_eq!(refused, if misread { vec!["job_dir"] } else { vec![] }, "{text:?}");
        if !text.contains('\0') && std::fs::create_dir_all(&script.job_dir).is_ok() {
            running.push((bash(&script).spawn().expect("bash runs"), script));
        }
    }
    assert!(running.len() > 60);
    for (child, script) in running {
        let output = child.wait_with_output().expect("bash ends");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "{}: {words}", script.job_dir.display());
        assert!(script.job_dir.join("arrived").exists() && script.job_dir.join(WITNESS_FILE).exists());
    }
    assert!(!canary.exists(), "a string became code");
}

/// Validation is the first fence; this is what holds without it.
#[test]
fn unvalidated_strings_are_no_code_either() {
    let dir = tempfile::tempdir().expect("a folder");
    let canary = dir.path().join("canary");
    let mut running = Vec::new();
    for (number, text) in hostile(&canary.to_string_lossy()).into_iter().enumerate() {
        let job_dir = dir.path().join(number.to_string());
        std::fs::create_dir(&job_dir).expect("a folder");
        let mut script = script(job_dir, vec!["true".to_owned(), text.clone()]);
        script.name.clone_from(&text);
        script.comment.clone_from(&text);
        script.env = [(text.clone(), text.clone())].into();
        script.options.account = Some(text.clone());
        script.options.extra_args = vec![text.clone(), format!("--wckey={text}")];
        script.options.container = Some(if number % 2 == 0 { format!("apptainer:{text}") } else { format!("pyxis:{text}") });
        script.options.container_mounts = vec![PathBuf::from(&text)];
        assert!(!script.validate().is_empty(), "{text:?}");
        let begin_of_code = script.render().lines().position(|line| line.starts_with("em_dir="));
        let header: Vec<String> = script.render().lines().take(begin_of_code.expect("a prologue")).map(str::to_owned).collect();
        assert!(header.iter().all(|line| line.is_empty() || line.starts_with('#')), "{text:?}: {header:#?}");
        running.push(bash(&script).spawn().expect("bash runs"));
    }
    for child in running {
        child.wait_with_output().expect("bash ends");
    }
    assert!(!canary.exists(), "a string became code");
}
