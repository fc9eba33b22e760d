//! The corpus of hostile strings on real Slurm: each either is refused with its field's name, or arrives as it was written, and
//! nothing else of the job changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use em_slurm::{ExitStatus, JobOptions, JobScript, JobState, Scheduler, validate_job_dir};

use crate::cluster::{Cluster, job};
use crate::hostile::hostile;

type Set = fn(&mut JobOptions, String);

/// Text fields that sbatch hands on as they are, and how it names them when asked to list what it understood.
const HANDED_ON: [(&str, Set); 9] = [
    ("partition", |options, text| options.partition = Some(text)),
    ("account", |options, text| options.account = Some(text)),
    ("qos", |options, text| options.qos = Some(text)),
    ("reservation", |options, text| options.reservation = Some(text)),
    ("licenses", |options, text| options.licenses = Some(text)),
    ("mail-user", |options, text| options.mail_user = Some(text)),
    ("container", |options, text| options.container = Some(format!("/{text}"))),
    ("wckey", |options, text| options.extra_args.push(format!("--wckey={text}"))),
    ("mcs-label", |options, text| options.extra_args.push(format!("--mcs-label={text}"))),
];

/// Text fields that sbatch parses itself, and so may refuse.
const PARSED: [(&str, Set); 9] = [
    ("constraint", |options, text| options.constraint = Some(text)),
    ("nodelist", |options, text| options.nodelist = Some(text)),
    ("exclude", |options, text| options.exclude = Some(text)),
    ("dependency", |options, text| options.dependency = Some(text)),
    ("begin", |options, text| options.begin = Some(text)),
    ("mail-type", |options, text| options.mail_type = Some(text)),
    ("gres", |options, text| options.gres = Some(text)),
    ("gpus", |options, text| options.gpus = Some(text)),
    ("mem", |options, text| options.memory = Some(text)),
];

/// What sbatch says it understood of the script, by name of the option; `None`: it refused before. Nothing is to be queued.
fn understood(cluster: &Cluster, script: &JobScript) -> Option<BTreeMap<String, String>> {
    cluster.write(script);
    let output = Command::new("sbatch")
        .args(["--verbose", "--test-only", "job.sh"])
        .current_dir(&script.job_dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("SLURM_CONF", cluster.dir().join("etc/slurm.conf"))
        .output()
        .expect("sbatch runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8 in, UTF-8 out");
    let lines: Vec<&str> = text.split('\n').filter_map(|line| line.strip_prefix("sbatch: ")).collect();
    let begin = lines.iter().position(|line| *line == "defined options")?;
    let listed = lines[begin + 2..].iter().take_while(|line| !line.starts_with("--------"));
    let option = |line: &&str| line.split_once(": ").map(|(name, value)| (name.trim().to_owned(), value.to_owned()));
    Some(listed.map(|line| option(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect())
}

fn with(cluster: &Cluster, set: &[(&str, Set)], text: &str) -> (JobScript, Vec<&'static str>) {
    let mut script = job(cluster, "em-words", vec!["true".to_owned()]);
    let mut refused = Vec::new();
    for (_, set) in set {
        let mut alone = JobOptions::default();
        set(&mut alone, text.to_owned());
        match alone.validate().first() {
            Some(error) => refused.push(error.field),
            None => set(&mut script.options, text.to_owned()),
        }
    }
    let commented = JobScript { comment: text.to_owned(), ..script.clone() };
    if commented.validate().is_empty() {
        script = commented;
    }
    assert!(script.validate().is_empty(), "{text:?}: {:?}", script.validate());
    (script, refused)
}

#[tokio::test]
async fn sbatch_reads_hostile_strings_as_values_and_never_as_options() {
    let cluster = Cluster::up(&[]);
    let canary = cluster.dir().join("canary");
    let plain = understood(&cluster, &with(&cluster, &[], "").0).expect("a plain script is read");
    let (mut literal, mut refused_by_us, mut refused_by_sbatch) = (0, 0, 0);
    for text in hostile(&canary.to_string_lossy()) {
        let (script, refused) = with(&cluster, &HANDED_ON, &text);
        let listed = understood(&cluster, &script).unwrap_or_else(|| panic!("sbatch cannot read {text:?}: {}", script.render()));
        let mut expected = plain.clone();
        if !script.comment.is_empty() {
            expected.insert("comment".to_owned(), script.comment.clone());
        }
        for (name, set) in HANDED_ON {
            let mut alone = JobOptions::default();
            set(&mut alone, text.clone());
            if alone.validate().is_empty() {
                literal += 1;
                expected.insert(name.to_owned(), if name == "container" { format!("/{text}") } else { text.clone() });
            }
        }
        assert_eq!(listed, expected, "{text:?}");
        refused_by_us += refused.len();

        for field in PARSED {
            let (script, refused) = with(&cluster, &[field], &text);
            if refused.is_empty() {
                let mut expected = plain.clone();
                if !script.comment.is_empty() {
                    expected.insert("comment".to_owned(), script.comment.clone());
                }
                match understood(&cluster, &script) {
                    None => refused_by_sbatch += 1,
                    Some(listed) => {
                        let value = listed.get(field.0).cloned().unwrap_or_default();
                        expected.insert(field.0.to_owned(), value);
                        assert_eq!(listed, expected, "{} {text:?}", field.0);
                        literal += 1;
                    }
                }
            }
            refused_by_us += refused.len();
        }
    }
    assert!(!canary.exists(), "a string became code");
    assert!(literal > 500 && refused_by_us > 200 && refused_by_sbatch > 50, "{literal} {refused_by_us} {refused_by_sbatch}");
    assert_eq!(cluster.slurm("squeue", &["-h", "-t", "all"]), "", "nothing was to be queued");
}

#[tokio::test]
async fn jobs_full_of_hostile_strings_run_with_each_as_it_was_written() {
    let cluster = Cluster::up(&[("CPUS", "64"), ("MEM", "65536")]);
    let slurm = cluster.scheduler();
    let canary = cluster.dir().join("canary");
    let mut scripts = Vec::new();
    for (number, texts) in batches(hostile(&canary.to_string_lossy())).into_iter().enumerate() {
        let dump = "printf '%s\\0' \"$VALUE\" \"$@\" > dumped";
        let words = ["bash", "-c", dump, "agent"].map(str::to_owned).into_iter().chain(texts.clone()).collect();
        let mut script = job(&cluster, &format!("em-{number}"), words);
        script.options.time_minutes = Some(7);
        script.options.cpus_per_task = Some(1);
        script.options.mail_type = Some("END".to_owned());
        script.env = [("VALUE".to_owned(), texts.join("\n"))].into();
        let mut folder = cluster.dir().join("j").join(number.to_string());
        for text in &texts {
            // Each where it can be carried; elsewhere it is refused by name.
            for (field, set) in CARRIED {
                let mut attempt = script.clone();
                set(&mut attempt, text);
                match attempt.validate().first() {
                    Some(error) => assert_eq!(error.field, field, "{text:?}"),
                    None => script = attempt,
                }
            }
            let deeper = folder.join(text.trim_start_matches('/'));
            if validate_job_dir(&deeper).is_ok() && std::fs::create_dir_all(&deeper).is_ok() {
                folder = deeper;
            }
        }
        script.job_dir = folder.join("end");
        assert!(script.validate().is_empty(), "{texts:?}: {:?}", script.validate());
        let submitted = cluster.submit(&slurm, &script).await;
        let id = submitted.unwrap_or_else(|error| panic!("{texts:?}: {error}")).id;
        scripts.push((id, texts, script));
    }
    let end = Instant::now() + Duration::from_secs(120);
    let jobs = loop {
        let jobs = slurm.list("em-").await.expect("an answer");
        if jobs.iter().all(|job| job.state.ended()) {
            break jobs;
        }
        assert!(Instant::now() < end, "the jobs do not end: {jobs:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(jobs.len(), scripts.len(), "no string made another job");
    let shown = cluster.slurm("scontrol", &["show", "job"]);
    let of_harmless = options_of(&shown, &scripts[0].0, &scripts[0].2);
    for (id, texts, script) in &scripts {
        let job = jobs.iter().find(|job| job.id == *id).expect("listed");
        assert_eq!((&job.name, &job.comment), (&script.name, &script.comment));
        assert_eq!((&job.state, job.exit), (&JobState::Completed, Some(ExitStatus { code: 0, signal: 0 })), "{texts:?}");
        let dumped = std::fs::read_to_string(script.job_dir.join("dumped")).unwrap_or_else(|error| panic!("{texts:?}: {error}"));
        assert_eq!(dumped, format!("{}\0{}\0", texts.join("\n"), texts.join("\0")));
        assert!(
            script.job_dir.join(format!("slurm_{id}.out")).exists(),
            "the log of {texts:?} is elsewhere: {}",
            logs(&script.job_dir)
        );
        assert_eq!(options_of(&shown, id, script), of_harmless, "{texts:?}");
    }
    assert!(!canary.exists(), "a string became code");
}

type Append = fn(&mut JobScript, &str);

/// The fields whose strings the controller keeps. Each appends, so that one job carries several strings.
const CARRIED: [(&str, Append); 3] = [
    ("comment", |script, text| script.comment = format!("{}{text}", script.comment)),
    ("account", |script, text| append(&mut script.options.account, text)),
    ("mail_user", |script, text| append(&mut script.options.mail_user, text)),
];

fn append(field: &mut Option<String>, text: &str) {
    *field = Some(field.take().unwrap_or_default() + text);
}

/// The first batch is harmless; NUL bytes are refused everywhere; few strings a job, and not too long together.
fn batches(strings: Vec<String>) -> Vec<Vec<String>> {
    let mut batches = vec![vec!["harmless".to_owned()], Vec::new()];
    for text in strings.into_iter().filter(|text| !text.contains('\0')) {
        let last = batches.last_mut().expect("there are two");
        if last.len() < 4 && last.iter().map(String::len).sum::<usize>() + text.len() < 1_000 {
            last.push(text);
        } else {
            batches.push(vec![text]);
        }
    }
    batches
}

fn logs(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).expect("the job directory").map(|entry| entry.expect("an entry").file_name());
    format!("{:?}", names.collect::<Vec<_>>())
}

/// What `scontrol show job` says of one job, without what is of each job by its nature; the strings of the script, as they must
/// stand there, are replaced by their fields' names.
fn options_of(shown: &str, id: &str, script: &JobScript) -> Vec<String> {
    const OWN: [&str; 11] = [
        "JobId=",
        "UserId=",
        "Priority=",
        "RunTime=",
        "SubmitTime=",
        "AccrueTime=",
        "StartTime=",
        // Newer versions: the whole command, name and comment in it.
        "SubmitLine=",
        "SuspendTime=",
        "NodeList=",
        "PreemptEligibleTime=",
    ];
    let block = shown.split("\n\n").find(|block| block.starts_with(&format!("JobId={id} "))).expect("the job is shown");
    let field = |value: &Option<String>| value.clone().unwrap_or_else(|| "(null)".to_owned());
    let account = format!("Account={} QOS=", field(&script.options.account));
    let user = script.options.mail_user.clone().unwrap_or_else(whoami);
    let lines = block.lines().map(str::trim_start).filter(|line| !OWN.iter().any(|own| line.starts_with(own)));
    let dir = script.job_dir.to_string_lossy();
    lines
        .map(|line| {
            if line.starts_with("Comment=") {
                // The second key stands behind it.
                assert_eq!(
                    line.trim_end(),
                    format!("Comment={}{}name={}", script.comment, if script.comment.is_empty() { "" } else { " " }, script.name)
                );
                return "Comment".to_owned();
            }
            if line.starts_with("MailUser=") {
                assert_eq!(line, format!("MailUser={user} MailType=END"));
                return "MailUser".to_owned();
            }
            line.replace(&account, "Account QOS=").replace(&*dir, "DIR").replace(&format!("slurm_{id}"), "slurm_ID")
        })
        .filter(|line| !line.starts_with("Comment"))
        .collect()
}

fn whoami() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
