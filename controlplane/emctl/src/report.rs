//! `emctl report`: downloads the report and unpacks it. Nothing in an archive can write outside the folder that was named.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Component, Path, PathBuf};

use em_api::client::Client;
use zip::ZipArchive;

use crate::failure::Failure;
use crate::output::print;

/// A report of 10,000 trials is far smaller; more is a mistake or an attack.
const LARGEST_FILE: u64 = 4 << 30;

pub(crate) async fn run(client: &Client, name: &str, out: &Path) -> Result<(), Failure> {
    let files = fetch(client, name, out).await?;
    print(&told(out, files))
}

/// Downloads and unpacks; returns the number of files.
pub(crate) async fn fetch(client: &Client, name: &str, out: &Path) -> Result<usize, Failure> {
    unpack(&client.report_zip(name).await?, out)
}

pub(crate) fn told(out: &Path, files: usize) -> String {
    format!("report: {files} files in {}; begin with {}", out.display(), out.join("report.html").display())
}

fn unpack(bytes: &[u8], out: &Path) -> Result<usize, Failure> {
    let broken = |error: zip::result::ZipError| Failure::Report(format!("the report is not a sound zip file: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    // All names first: an archive that is refused leaves nothing behind.
    let mut targets = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        if entry.is_dir() {
            continue;
        }
        let path = PathBuf::from(entry.name());
        if entry.is_symlink() || !is_plain(&path) {
            return Err(Failure::Report(format!("the report holds an unsafe path: {:?}", entry.name())));
        }
        targets.push((index, path));
    }
    for (index, path) in &targets {
        let mut entry = archive.by_index(*index).map_err(broken)?;
        write(&mut entry, &out.join(path))?;
    }
    Ok(targets.len())
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn write(content: &mut impl Read, path: &PathBuf) -> Result<(), Failure> {
    let fail = |source: io::Error| Failure::Io { doing: format!("writing {}", path.display()), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    // A link left there by somebody else would lead the write away: it is replaced, not followed.
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        std::fs::remove_file(path).map_err(fail)?;
    }
    let mut file = File::create(path).map_err(fail)?;
    io::copy(&mut content.take(LARGEST_FILE), &mut file).map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
            zip.write_all(name.as_bytes()).expect("its content");
        }
        zip.finish().expect("an archive").into_inner()
    }

    #[test]
    fn a_report_is_unpacked_over_an_older_one() {
        let home = tempfile::tempdir().expect("a folder");
        let out = home.path().join("new/results");
        for _ in 0..2 {
            assert_eq!(unpack(&archive(&["report.html", "plots/a.png"]), &out).expect("unpacked"), 2);
        }
        assert_eq!(std::fs::read_to_string(out.join("plots/a.png")).expect("a file"), "plots/a.png");
    }

    #[test]
    fn no_entry_escapes_the_folder_and_nothing_is_left_behind() {
        for bad in ["../escaped", "/escaped", "a/../../escaped", "a/./../escaped"] {
            let home = tempfile::tempdir().expect("a folder");
            let out = home.path().join("results");
            let failure = unpack(&archive(&["good", bad]), &out).expect_err(bad);
            assert_eq!(failure.exit_code(), 1, "{bad}");
            assert!(!out.exists() && !home.path().join("escaped").exists(), "{bad}");
        }
    }

    #[test]
    fn a_link_in_the_folder_is_not_followed() {
        let home = tempfile::tempdir().expect("a folder");
        let (out, outside) = (home.path().join("results"), home.path().join("precious"));
        std::fs::create_dir(&out).expect("a folder");
        std::fs::write(&outside, "precious").expect("a file");
        std::os::unix::fs::symlink(&outside, out.join("report.html")).expect("a link");
        unpack(&archive(&["report.html"]), &out).expect("unpacked");
        assert_eq!(std::fs::read_to_string(outside).expect("still there"), "precious");
    }

    #[test]
    fn what_is_no_archive_is_told_so() {
        let home = tempfile::tempdir().expect("a folder");
        assert!(unpack(b"<html>", home.path()).expect_err("no archive").to_string().contains("not a sound zip"));
    }
}
