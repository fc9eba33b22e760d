//! Text Embeddings Inference: its own program, `text-embeddings-router`, by path, out of a container image, or from the PATH.

use std::path::{Path, PathBuf};

use em_api::spec::{Device, Dtype};

use super::command::{Plan, pooling};
use super::{Launch, inputs};

const PROGRAM: &str = "text-embeddings-router";
/// Limits of clients, not settings of the server: its defaults (32 texts a request, 2 MB, 512 texts waiting) refuse what the other
/// kinds take.
const CLIENT_LIMITS: [(&str, &str); 3] =
    [("--max-client-batch-size", "8192"), ("--payload-limit", "67108864"), ("--max-concurrent-requests", "65536")];

/// Errors: the field and the cure.
pub(super) fn tei(launch: &Launch, port: u16) -> Result<Plan, String> {
    let folder = inputs::model_folder(launch)?;
    let dtype = match inputs::dtype(launch) {
        Dtype::Float32 => "float32",
        Dtype::Float16 => "float16",
        other => return Err(format!("dtype: tei cannot compute in {}; choose float32 or float16", other.as_str())),
    };
    if !launch.model.normalize {
        // Its OpenAI route always normalises.
        return Err("model.normalize: tei answers unit vectors only; set it to true, or leave tei out".to_owned());
    }
    let served = [
        ("--model-id", folder.display().to_string()),
        ("--served-model-name", launch.model.id.clone()),
        ("--hostname", "127.0.0.1".to_owned()),
        ("--port", port.to_string()),
        ("--dtype", dtype.to_owned()),
        (
            "--pooling",
            if launch.model.pooling == em_api::spec::Pooling::Last { "last-token" } else { pooling(launch.model.pooling) }
                .to_owned(),
        ),
        // Of its own: 9000, taken on many nodes.
        ("--prometheus-port", "0".to_owned()),
        ("--auto-truncate", "true".to_owned()),
    ];
    let limits = CLIENT_LIMITS.map(|(name, value)| (name, value.to_owned()));
    let batch = launch.backend.batch.map(|batch| ("--max-batch-requests", batch.to_string()));
    let own = &launch.backend.args;
    let given = |name: &str| own.iter().any(|arg| arg == name || arg.starts_with(&format!("{name}=")));
    let mut args: Vec<String> = served
        .into_iter()
        .chain(limits)
        .chain(batch)
        .filter(|(name, _)| !given(name))
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
    args.extend(own.iter().cloned());
    let mut plan = match &launch.backend.image {
        Some(image) => in_container(launch, image, &folder, args)?,
        None => Plan::new(program(launch)?, args),
    };
    plan.set("HF_HUB_OFFLINE", 1);
    Ok(plan)
}

fn program(launch: &Launch) -> Result<PathBuf, String> {
    if let Some(path) = &launch.backend.binary {
        let path = PathBuf::from(path);
        return if executable(&path) { Ok(path) } else { Err(format!("binary: {} is no program on this node", path.display())) };
    }
    find(PROGRAM).ok_or_else(|| {
        format!("{PROGRAM} is not in the PATH of this job: name it by `binary`, an image by `image`, or a running server by `url`")
    })
}

/// `image` as apptainer takes it. A daemon's containers (docker) would run outside of the job and its process group.
fn in_container(launch: &Launch, image: &str, model: &Path, args: Vec<String>) -> Result<Plan, String> {
    let apptainer = find("apptainer").or_else(|| find("singularity"));
    let apptainer =
        apptainer.ok_or("image: apptainer is not in the PATH of this job: load its module by slurm.modules, or use `binary`")?;
    let image = image.strip_prefix("apptainer:").unwrap_or(image);
    if !image.contains("://") && !Path::new(image).exists() {
        return Err(format!("image: {image} is not there on this node; give a .sif file, or docker://… where nodes may download"));
    }
    let mut words = vec!["exec".to_owned(), "--bind".to_owned(), format!("{0}:{0}:ro", model.display())];
    if launch.backend.device == Device::Cuda {
        words.push("--nv".to_owned());
    }
    words.extend([image.to_owned(), PROGRAM.to_owned()]);
    words.extend(args);
    Ok(Plan::new(apptainer, words))
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
