//! Where the agent runs: beside the job script on the node, or in a container that the script starts. One string says which,
//! as users of the three tools write it.

use std::path::PathBuf;

use crate::quote::quote;

/// What `JobOptions::container` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Container {
    /// A folder with an OCI bundle: Slurm itself runs the whole script in it (`sbatch --container`, needs the site's `oci.conf`).
    Oci { bundle: String },
    /// `apptainer exec IMAGE`, or `singularity exec` where that is its name.
    Apptainer { image: String },
    /// `srun --container-image=IMAGE`: Slurm's plugin pyxis on enroot.
    Pyxis { image: String },
}

impl Container {
    /// `apptainer:IMAGE` or `….sif` · `pyxis:IMAGE`, `docker://IMAGE` or `….sqsh` · `/folder/of/an/OCI/bundle`.
    /// Errors: what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let image = |image: &str| {
            let image = image.trim().to_owned();
            if image.is_empty() {
                return Err(format!("`{text}` names no image"));
            }
            // It stands where apptainer reads its options too.
            if image.starts_with('-') { Err(format!("an image must not begin with `-`: `{image}`")) } else { Ok(image) }
        };
        if let Some(rest) = text.strip_prefix("apptainer:") {
            Ok(Self::Apptainer { image: image(rest)? })
        } else if let Some(rest) = text.strip_prefix("pyxis:") {
            Ok(Self::Pyxis { image: image(rest)? })
        } else if text.ends_with(".sif") {
            Ok(Self::Apptainer { image: image(text)? })
        } else if text.starts_with("docker://") || text.ends_with(".sqsh") {
            Ok(Self::Pyxis { image: image(text)? })
        } else if text.starts_with('/') {
            Ok(Self::Oci { bundle: text.to_owned() })
        } else {
            Err(format!(
                "`{text}` is no container: write apptainer:IMAGE (or a path that ends in .sif), pyxis:IMAGE (or docker://IMAGE), or \
                 the absolute path of an OCI bundle"
            ))
        }
    }

    /// Whether the script starts the container, which then needs paths mounted.
    pub(crate) fn is_started_by_the_script(&self) -> bool {
        !matches!(self, Self::Oci { .. })
    }

    /// The words before the agent's, quoted for bash. `mounts` appear inside under their own paths.
    pub(crate) fn command(&self, mounts: &[PathBuf], job_dir: &str, gpus: bool) -> String {
        let mounts = mounts.iter().map(|path| path.to_string_lossy());
        let words: Vec<String> = match self {
            Self::Oci { .. } => Vec::new(),
            Self::Apptainer { image } => ["\"$em_container\"", "exec"]
                .into_iter()
                .chain(gpus.then_some("--nv"))
                .map(str::to_owned)
                .chain(mounts.map(|path| format!("--bind={}", quote(&path))))
                .chain([quote(image)])
                .collect(),
            // All CPUs of the job, as without a container: srun alone would bind its one task to some of them.
            Self::Pyxis { image } => ["srun", "--nodes=1", "--ntasks=1", "--cpu-bind=none"]
                .map(str::to_owned)
                .into_iter()
                .chain([
                    format!("--container-image={}", quote(image)),
                    format!(
                        "--container-mounts={}",
                        quote(&mounts.map(|path| format!("{path}:{path}")).collect::<Vec<_>>().join(","))
                    ),
                    format!("--container-workdir={}", quote(job_dir)),
                ])
                .collect(),
        };
        words.into_iter().map(|word| word + " ").collect()
    }
}

/// Why a path cannot be mounted: both tools read `:` and `,` as separators.
pub(crate) fn unmountable(path: &str) -> Option<String> {
    (path.contains([':', ',']) || !path.starts_with('/'))
        .then(|| format!("`{path}` cannot be mounted into a container: an absolute path without `:` and `,` can"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_string_says_which_tool_and_which_image() {
        let apptainer = |image: &str| Ok(Container::Apptainer { image: image.to_owned() });
        let pyxis = |image: &str| Ok(Container::Pyxis { image: image.to_owned() });
        assert_eq!(Container::parse("apptainer:/images/em.sif"), apptainer("/images/em.sif"));
        assert_eq!(Container::parse("apptainer:docker://debian:12"), apptainer("docker://debian:12"));
        assert_eq!(Container::parse("/images/em.sif"), apptainer("/images/em.sif"));
        assert_eq!(Container::parse("images/em.sif"), apptainer("images/em.sif"));
        assert_eq!(Container::parse("pyxis:nvcr.io#nvidia/pytorch:25.01-py3"), pyxis("nvcr.io#nvidia/pytorch:25.01-py3"));
        assert_eq!(Container::parse("docker://debian:12"), pyxis("docker://debian:12"));
        assert_eq!(Container::parse("/images/em.sqsh"), pyxis("/images/em.sqsh"));
        assert_eq!(Container::parse("/bundles/em"), Ok(Container::Oci { bundle: "/bundles/em".to_owned() }));
        for text in ["debian:12", "apptainer:", "pyxis: ", "apptainer:--writable", "--x.sif", "", "singularity"] {
            assert!(Container::parse(text).is_err(), "{text}");
        }
    }
}
