//! What only a real Slurm can show: that its hook reaches us, and what the doctor finds. Private clusters of `scripts/cluster.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use em_api::client::Client;
use em_api::client::experiments::Body;
use em_api::inputs::{Entry, manifest_path, required};
use em_controlplane::config::Settings;
use em_controlplane::doctor::{self, Check, Demands, Outcome};
use em_controlplane::serve;
use em_slurm::{CliScheduler, CliSettings};
use tokio::runtime::Runtime;

use crate::server::{body, settings};

/// Ends with the test.
struct Cluster(tempfile::TempDir);

impl Cluster {
    fn up(slurm_conf_lines: &str, prepare: impl FnOnce(&Path)) -> Self {
        // Short, since paths of sockets end at 107 bytes.
        let cluster = Self(tempfile::Builder::new().prefix("em").tempdir().unwrap());
        std::fs::create_dir(cluster.0.path().join("etc")).unwrap();
        std::fs::write(cluster.0.path().join("extra.conf"), slurm_conf_lines.replace("DIR", &cluster.0.path().to_string_lossy()))
            .unwrap();
        prepare(&cluster.0.path().join("etc"));
        cluster.script("up");
        cluster
    }

    fn script(&self, verb: &str) {
        let output = Command::new(root().join("scripts/cluster.sh"))
            .args([verb, "--dir"])
            .arg(self.0.path())
            .envs([("NODES", "1"), ("GPUS", "0"), ("PORT", "auto"), ("ACCT", "0")])
            .env("EXTRA_CONF", self.0.path().join("extra.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "cluster.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn scheduler(&self) -> Arc<CliScheduler> {
        let slurm_conf = Some(self.0.path().join("etc/slurm.conf"));
        Arc::new(CliScheduler::new(CliSettings { slurm_conf, ..CliSettings::default() }))
    }

    fn jobs(&self) -> String {
        let conf = self.0.path().join("etc/slurm.conf");
        let output = Command::new("squeue").args(["-h", "-o", "%j %T"]).env("SLURM_CONF", conf).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("down");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn slurms_hook_shows_the_end_of_a_job_that_the_poll_would_show_in_minutes() {
    const MINUTES: Duration = Duration::from_secs(900);
    let hook = std::fs::read_to_string(root().join("deploy/slurm/em-hint.sh")).unwrap();
    let cluster = Cluster::up("EpilogSlurmctld=DIR/etc/em-hint.sh\n", |etc| executable(&etc.join("em-hint.sh"), &hook));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        poll_interval: MINUTES,
        fast_poll_interval: MINUTES,
        slurm_timeout: Duration::from_secs(30),
        ..settings(folder.path())
    };
    executable(&settings.agent, "#!/bin/sh\nsleep 2\nexit 3\n");
    let runtime = Runtime::new().unwrap();
    let running = runtime.block_on(serve::start(&settings, cluster.scheduler())).unwrap();
    let state = running.state_dir();
    let token = std::fs::read_to_string(state.join("admin-token")).unwrap();
    let client = Client::new(running.url(), Some(token.trim().to_owned())).unwrap();
    let conf = format!("EM_URL={}/\nEM_TOKEN_FILE={}\n", running.url(), state.join("hint-token").display());
    std::fs::write(cluster.0.path().join("etc/em-hint.conf"), conf).unwrap();

    let mut experiment = body("hooked");
    experiment["spec"]["retries"] = 0.into();
    let created = runtime.block_on(client.create_experiment(Body::Json(experiment), false)).unwrap().answer.experiment;
    for (kind, key) in required(&created.spec) {
        let path = manifest_path(&settings.store_dir, kind, &key);
        let (created_at, details) = (em_api::Timestamp::now(), Default::default());
        let entry = Entry { kind, key: key.clone(), path: key, sha256: "0".repeat(64), created_at, details };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_string(&entry).unwrap()).unwrap();
    }
    let begin = Instant::now();
    loop {
        let status = runtime.block_on(client.experiment("hooked")).unwrap().status;
        if status.phase.ended() {
            assert_eq!(status.phase, em_api::status::Phase::Failed, "{status:?}");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(90), "no hint came: {status:?}\n{}", cluster.jobs());
        std::thread::sleep(Duration::from_millis(100));
    }
    runtime.block_on(running.stop());
}

#[test]
fn the_doctor_submits_a_job_and_tells_when_the_site_renames_it() {
    let plugin = |etc: &Path, line: &str| {
        let text = format!(
            "function slurm_job_submit(job, part, uid) {line} return slurm.SUCCESS end\n\
             function slurm_job_modify(job, record, part, uid) return slurm.SUCCESS end\nreturn slurm.SUCCESS\n"
        );
        // Slurm reads the plugin again when its time differs, in seconds.
        let new = etc.join("new.lua");
        std::fs::write(&new, text).unwrap();
        let age = Duration::from_secs(1_000 - line.len() as u64);
        std::fs::File::options().write(true).open(&new).unwrap().set_modified(std::time::SystemTime::now() - age).unwrap();
        std::fs::rename(new, etc.join("job_submit.lua")).unwrap();
    };
    let cluster = Cluster::up("JobSubmitPlugins=lua\nMinJobAge=20\n", |etc| plugin(etc, ""));
    let etc = cluster.0.path().join("etc");
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        slurm_timeout: Duration::from_secs(30),
        settle_time: Duration::from_secs(20),
        poll_interval: Duration::from_secs(15),
        ..settings(folder.path())
    };
    executable(&settings.agent, "#!/bin/sh\necho em-agent 0.1.0\n");
    let runtime = Runtime::new().unwrap();
    let examine = |demands: Demands| runtime.block_on(doctor::examine(&settings, cluster.scheduler(), &demands));
    let outcome = |checks: &[Check], name: &str| {
        let check = checks.iter().find(|check| check.name == name);
        check.unwrap_or_else(|| panic!("no check {name}: {checks:#?}")).outcome
    };

    let checks = examine(Demands::default());
    for (name, expected) in [
        ("state directory", Outcome::Ok),
        ("agent", Outcome::Ok),
        ("Slurm", Outcome::Ok),
        ("accounting", Outcome::Warning),
        ("finished jobs", Outcome::Warning),
        ("settle time", Outcome::Ok),
        ("job names", Outcome::Ok),
        ("clock", Outcome::Ok),
    ] {
        assert_eq!(outcome(&checks, name), expected, "{name}: {checks:#?}");
    }
    assert!(!doctor::any_failed(&checks));

    plugin(&etc, "job.name = 'site_job'");
    let checks = examine(Demands::default());
    assert_eq!(outcome(&checks, "job names"), Outcome::Warning, "the comment is the second key: {checks:#?}");

    plugin(&etc, "job.name = 'site_job' job.comment = 'site'");
    let checks = examine(Demands::default());
    assert_eq!(outcome(&checks, "job names"), Outcome::Failed, "{checks:#?}");
    assert!(doctor::table(&checks).contains("came back as site_job") && doctor::any_failed(&checks));

    let checks = examine(Demands { partition: Some("nope".to_owned()), ..Demands::default() });
    assert_eq!(outcome(&checks, "job names"), Outcome::Failed, "{checks:#?}");
    assert!(doctor::table(&checks).contains("Invalid partition name specified"), "{checks:#?}");

    assert_eq!(cluster.jobs(), "", "nothing is left in the queue");
    assert_eq!(std::fs::read_dir(&settings.job_dir).unwrap().count(), 0, "nor in the job directory");
}

#[test]
fn the_doctor_says_how_to_cure_what_it_finds() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let nowhere = CliSettings { bin_dir: Some(folder.path().to_owned()), ..CliSettings::default() };
    let scheduler = Arc::new(CliScheduler::new(nowhere));
    let checks = Runtime::new().unwrap().block_on(doctor::examine(&settings, scheduler, &Demands::default()));
    let cures: Vec<(&str, Outcome, bool)> = checks
        .iter()
        .map(|check| (check.name, check.outcome, check.cure.as_deref().is_some_and(|cure| cure.contains("--"))))
        .collect();
    let expected = [
        ("state directory", Outcome::Ok, false),
        ("job directory", Outcome::Warning, true),
        ("agent", Outcome::Failed, true),
        ("Slurm", Outcome::Failed, true),
    ];
    assert_eq!(cures, expected, "{checks:#?}");
}
