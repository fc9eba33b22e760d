//! One cluster on which many cases run side by side, with one reader of the listing for all of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use em_slurm::{CliScheduler, ExitStatus, JobView, Scheduler};

use crate::cluster::Cluster;

/// Generous: the machine is shared, and the scheduler itself takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) slurm: CliScheduler,
    /// All that the listing has shown, without repeats.
    seen: Arc<Mutex<Vec<JobView>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Stage {
    /// `extra`: more lines for slurm.conf.
    pub(crate) fn up(knobs: &[(&str, &str)], extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("extra.conf");
        std::fs::write(&file, extra).expect("written");
        let file = file.to_string_lossy();
        let knobs: Vec<(&str, &str)> = [("EXTRA_CONF", &*file)].into_iter().chain(knobs.iter().copied()).collect();
        let cluster = Cluster::up(&knobs);
        let slurm = cluster.scheduler();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(read_on(slurm.clone(), Arc::clone(&seen)));
        std::fs::create_dir_all(cluster.dir().join("jobs")).expect("a folder");
        Self { cluster, slurm, seen, reader }
    }

    /// A folder for what the jobs of a case leave behind.
    pub(crate) fn folder(&self) -> PathBuf {
        self.cluster.dir().join("jobs")
    }

    /// Submits a script of the case's own, with plain sbatch: its id.
    pub(crate) fn sbatch(&self, name: &str, args: &[&str], script: &str) -> String {
        let folder = self.folder();
        let file = folder.join(format!("{name}.sh"));
        std::fs::write(&file, script).expect("written");
        let (name, folder, file) = (format!("--job-name={name}"), folder.display().to_string(), file.display().to_string());
        let mut all = vec!["--parsable", &name, "--chdir", &folder, "--output=%x.out", "--no-requeue"];
        all.extend(args);
        all.push(&file);
        let id = self.cluster.slurm("sbatch", &all).trim().to_owned();
        assert!(id.parse::<u64>().is_ok(), "sbatch {all:?}: {id:?}");
        id
    }

    pub(crate) fn scontrol(&self, args: &[&str]) -> String {
        self.cluster.slurm("scontrol", args)
    }

    /// The first view of the job, now or earlier, that is as expected.
    pub(crate) async fn until(&self, name: &str, what: &str, expected: impl Fn(&JobView) -> bool) -> JobView {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown(name);
            if let Some(view) = shown.iter().find(|view| expected(view)) {
                return view.clone();
            }
            assert!(Instant::now() < end && !self.reader.is_finished(), "{name}: not {what}, but {shown:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn ended(&self, name: &str) -> JobView {
        self.until(name, "over", |view| view.state.ended()).await
    }

    /// In the order in which the listing showed them.
    pub(crate) fn shown(&self, name: &str) -> Vec<JobView> {
        self.seen.lock().expect("no panic").iter().filter(|view| view.name == name).cloned().collect()
    }

    /// What accounting says, once the controller has forgotten the job.
    pub(crate) async fn accounted(&self, name: &str) -> JobView {
        let end = Instant::now() + PATIENCE;
        loop {
            let listed = self.slurm.list(name).await.expect("the listing").into_iter().any(|job| job.name == name);
            let found = self.slurm.find(name).await.expect("an answer");
            if let ([view], false) = (&found[..], listed) {
                assert_eq!(view.restart_count, None, "accounting does not know it");
                return view.clone();
            }
            assert!(Instant::now() < end, "{name}: still listed, or not once in accounting: {found:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// `(22, 5)`
    pub(crate) fn version(&self) -> (u32, u32) {
        let text = self.cluster.slurm("sinfo", &["--version"]);
        let mut numbers = text.split([' ', '.', '\n']).filter_map(|word| word.parse().ok());
        (numbers.next().expect("a version"), numbers.next().expect("a version"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_on(slurm: CliScheduler, seen: Arc<Mutex<Vec<JobView>>>) {
    loop {
        // A controller that is away for a moment shows nothing; the case runs into its deadline if it stays away.
        if let Ok(views) = slurm.list("").await {
            let mut seen = seen.lock().expect("no panic");
            for view in views {
                if seen.iter().rfind(|known| known.id == view.id && known.name == view.name) != Some(&view) {
                    seen.push(view);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

pub(crate) fn status(code: i32, signal: i32) -> Option<ExitStatus> {
    Some(ExitStatus { code, signal })
}
