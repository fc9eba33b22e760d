//! Runs without a server: writes the folder that the server made up, and later sends what was measured in it. The files are the
//! server's and the agent's; nothing is computed here.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Cursor, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use em_api::client::Client;
use em_api::client::experiments::{Body, Creation};
use em_api::plan::{EXPERIMENT_FILE, PLAN_FILE, SPOOL_DIR};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{complain, json, print};

const SCRIPT_FILE: &str = "job.sh";

/// Writes `dir` (0700). One folder is one run: a folder with a plan is left as it is.
pub(crate) async fn write(client: &Client, body: Body, dir: &Path) -> Result<(), Failure> {
    let dir = std::path::absolute(dir).map_err(|source| failed("finding", dir, source))?;
    if dir.join(PLAN_FILE).exists() {
        return Err(Failure::Usage(format!("{} holds a plan already; name another folder", dir.display())));
    }
    let Some(text) = dir.to_str() else {
        return Err(Failure::Usage(format!("{} is no path in UTF-8", dir.display())));
    };
    let mut answer = client.standalone(body, text).await?;
    complain(&answer.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>());
    let (Some(script), Some(plan)) = (answer.script.take(), answer.plan.take()) else {
        return Err(Failure::Usage("this control plane is too old: it makes no runs without a server".to_owned()));
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|source| failed("making", &dir, source))?;
    for (name, content, mode) in
        [(EXPERIMENT_FILE, json(&answer.experiment), 0o600), (PLAN_FILE, json(&plan), 0o600), (SCRIPT_FILE, script, 0o700)]
    {
        let path = dir.join(name);
        let mut open = OpenOptions::new();
        let file = open.write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|source| failed("writing", &path, source))?;
    }
    let script = dir.join(SCRIPT_FILE);
    print(&format!(
        "{} is ready: run it by `sbatch --chdir {1} {2}` or `bash {2}`, then `emctl import {1}`",
        dir.display(),
        quoted(&dir),
        quoted(&script)
    ))
}

/// Sends the folder's experiment, plan and spool.
pub(crate) async fn import(client: &Client, dir: &Path, name: Option<&str>, format: Format) -> Result<(), Failure> {
    let zip = pack(dir)?;
    let Creation { new, answer } = client.import(zip, name).await?;
    let experiment = &answer.experiment;
    let (name, trials) = (&experiment.metadata.name, &experiment.status.trials);
    print(&match format {
        Format::Json => json(experiment),
        Format::Yaml => crate::output::yaml(experiment),
        Format::Name => name.clone(),
        Format::Table => {
            let word = if new { "is imported" } else { "was imported before" };
            format!("{name} {word}: {} of {} trials measured. See `emctl results {name}`", trials.succeeded, trials.total)
        }
    })
}

fn pack(dir: &Path) -> Result<Vec<u8>, Failure> {
    let mut names = vec![EXPERIMENT_FILE.to_owned(), PLAN_FILE.to_owned()];
    for epoch in children(&dir.join(SPOOL_DIR)).map_err(|source| failed("reading", &dir.join(SPOOL_DIR), source))? {
        let folder = Path::new(SPOOL_DIR).join(&epoch);
        for file in children(&dir.join(&folder)).unwrap_or_default() {
            // A name with a dot before it was being written when its agent was killed.
            if !file.starts_with('.') {
                names.push(format!("{SPOOL_DIR}/{epoch}/{file}"));
            }
        }
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let broken = |error: zip::result::ZipError| Failure::Report(format!("packing the run: {error}"));
    for name in names {
        let path = dir.join(&name);
        let content = fs::read(&path).map_err(|source| failed("reading", &path, source))?;
        zip.start_file(name, SimpleFileOptions::default()).map_err(broken)?;
        zip.write_all(&content).map_err(|source| failed("packing", &path, source))?;
    }
    Ok(zip.finish().map_err(broken)?.into_inner())
}

fn children(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn failed(doing: &str, path: &Path, source: io::Error) -> Failure {
    Failure::Io { doing: format!("{doing} {}", path.display()), source }
}

/// A path as one word of a shell, to be pasted.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./+:@".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_packed_without_what_was_half_written() {
        let home = tempfile::tempdir().expect("a folder");
        let dir = home.path().join("run");
        fs::create_dir_all(dir.join("spool/e0")).expect("a folder");
        fs::create_dir_all(dir.join("logs/e0")).expect("a folder");
        for name in
            ["experiment.json", "plan.json", "job.sh", "spool/e0/measurement-1.json", "spool/e0/.measurement-2.part", "logs/e0/a"]
        {
            fs::write(dir.join(name), name).expect("a file");
        }
        let zip = zip::ZipArchive::new(Cursor::new(pack(&dir).expect("packed"))).expect("a zip");
        let mut names: Vec<&str> = zip.file_names().collect();
        names.sort_unstable();
        assert_eq!(names, ["experiment.json", "plan.json", "spool/e0/measurement-1.json"]);
    }

    #[test]
    fn a_folder_that_never_ran_is_told_by_name() {
        let home = tempfile::tempdir().expect("a folder");
        let failure = pack(home.path()).expect_err("no spool");
        assert!(failure.lines()[0].contains("spool"), "{:?}", failure.lines());
    }
}
