//! v0.0.39 and later: a job is a record of typed fields, as the controller is sent it. sbatch's shorthands (`32G`, `END,FAIL`, `gpu:2`)
//! are read here, and a form that we cannot read is refused: slurmrestd submits a job whose flags it does not know, without them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::extra::{EXTRAS, Form, split};
use super::{Unsupported, Version, alike, units, unsupported};
use crate::JobScript;

pub(super) fn fields(
    job: &JobScript,
    environment: BTreeMap<String, String>,
    version: Version,
) -> Result<Map<String, Value>, Unsupported> {
    let options = &job.options;
    let mut fields = Fields { map: alike(job), version };
    fields.add("open_mode", json!(["APPEND"]));
    fields.add("kill_warning_signal", json!("TERM"));
    fields.add("kill_warning_delay", json!({ "set": true, "infinite": false, "number": 90 }));
    fields.add("kill_warning_flags", json!(["BATCH_JOB"]));
    fields.add("environment", environment.iter().map(|(name, value)| json!(format!("{name}={value}"))).collect());
    fields.add("requeue", json!(options.requeue));

    let texts = [("required_nodes", &options.nodelist), ("excluded_nodes", &options.exclude)];
    for (key, value) in texts {
        if let Some(value) = value {
            fields.add(key, json!(value));
        }
    }
    if let Some(gres) = &options.gres {
        fields.tres("tres_per_node", units::gres(gres, version.tres()));
    }
    if let Some(gpus) = &options.gpus_per_node {
        fields.tres("tres_per_node", units::gpus(gpus, version.tres()));
    }
    if let Some(gpus) = &options.gpus {
        fields.tres("tres_per_job", units::gpus(gpus, version.tres()));
    }
    if let Some(memory) = &options.memory {
        fields.form("mem", "memory_per_node", Form::Megabytes, Some(memory))?;
    }
    if let Some(minutes) = options.time_minutes {
        fields.number("time_limit", u64::from(minutes));
    }
    if let Some(begin) = &options.begin {
        fields.form("begin", "begin_time", Form::Time, Some(begin))?;
    }
    if let Some(types) = &options.mail_type {
        let flags = units::mail_types(types).ok_or_else(|| unsupported("mail-type", version, "it does not know this event"))?;
        fields.add("mail_type", json!(flags));
    }
    if options.exclusive {
        fields.add("shared", json!(["none"]));
    }
    for arg in &options.extra_args {
        let (option, value) = split(arg);
        let Some((key, form)) = EXTRAS.iter().find(|extra| extra.option == option).and_then(|extra| extra.described) else {
            return Err(unsupported(option, version, "it has no field for it; sbatch has (transport `cli`)"));
        };
        fields.form(option, key, form, value)?;
    }
    Ok(fields.map)
}

struct Fields {
    map: Map<String, Value>,
    version: Version,
}

impl Fields {
    fn add(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.add(key, json!({ "set": true, "infinite": false, "number": number }));
    }

    /// Several options share one list.
    fn tres(&mut self, key: &str, more: String) {
        let joined = match self.map.get(key).and_then(Value::as_str) {
            Some(before) => format!("{before},{more}"),
            None => more,
        };
        self.add(key, json!(joined));
    }

    fn form(&mut self, option: &str, key: &str, form: Form, value: Option<&str>) -> Result<(), Unsupported> {
        let version = self.version;
        let unreadable = |what: &str| unsupported(option, version, &format!("`{}` is no {what}", value.unwrap_or_default()));
        if form == Form::Flag {
            if value.is_some() {
                return Err(unsupported(option, version, "only without a value"));
            }
            self.add(key, json!(true));
            return Ok(());
        }
        let value = value.ok_or_else(|| unsupported(option, version, "it needs a value"))?;
        match form {
            Form::Text => self.add(key, json!(value)),
            Form::Whole => self.add(key, json!(value.parse::<u32>().map_err(|_| unreadable("whole number"))?)),
            Form::Number => self.number(key, value.parse().map_err(|_| unreadable("whole number"))?),
            Form::Truth => self.add(key, json!(units::truth(value).ok_or_else(|| unreadable("0, 1, yes or no"))?)),
            Form::Minutes => self.number(key, units::minutes(value).ok_or_else(|| unreadable("time of sbatch's"))?),
            Form::Megabytes => self.number(key, units::megabytes(value).ok_or_else(|| unreadable("memory size such as 32G"))?),
            Form::Disk => self.add(key, json!(units::megabytes(value).ok_or_else(|| unreadable("size such as 32G"))?)),
            Form::Time if version.reads_times() => self.add(key, json!(value)),
            Form::Time => {
                let time = units::moment(value, jiff::Zoned::now()).ok_or_else(|| unreadable("time such as now+1hour"))?;
                self.add(key, json!(time));
            }
            Form::Gpus => self.tres(key, units::gpus(value, version.tres())),
            Form::GpusPerTask => {
                let sum = units::gpu_sum(value).ok_or_else(|| unreadable("number of GPUs"))?;
                self.tres(key, units::counted_gpus(value, version.tres(), version.before_count()));
                if version.binds_gpus_by_record() {
                    self.add("tres_bind", json!(format!("gres/gpu:per_task:{sum}")));
                }
            }
            Form::GpuMegabytes => {
                let megabytes = units::megabytes(value).ok_or_else(|| unreadable("memory size such as 32G"))?;
                self.tres(key, units::gpus(&megabytes.to_string(), version.tres()));
            }
            Form::Flag => {}
        }
        Ok(())
    }
}
