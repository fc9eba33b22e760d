//! The stage of the end-to-end tests: a private Slurm cluster, the real binaries, and what a user types. Nothing here is a fake,
//! but for [`EmbeddingServer`], which says so; everything is stopped by its process id when its guard is dropped.
//!
//! The binaries and the store are named by `make test` in EM_TEST_BIN and EM_TEST_STORE.

mod chaos;
mod cluster;
mod control_plane;
mod embedding_server;
mod process;

pub use chaos::{Fault, FaultySbatch};
pub use cluster::Cluster;
pub use control_plane::ControlPlane;
pub use embedding_server::EmbeddingServer;
pub use process::{Guarded, wait_until};

use std::path::PathBuf;

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the repository").to_path_buf()
}

/// The filled input store.
pub fn store() -> PathBuf {
    from_environment("EM_TEST_STORE")
}

/// A binary of the project.
pub fn binary(name: &str) -> PathBuf {
    let path = from_environment("EM_TEST_BIN").join(name);
    assert!(path.is_file(), "{} is not built: run `make test`, or cargo build --workspace first", path.display());
    path
}

fn from_environment(name: &str) -> PathBuf {
    let value = std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run these tests by `make test`"));
    PathBuf::from(value)
}
