//! Settings: flags, `EM_…` variables and the TOML file, in this order of strength, resolved into complete [`Settings`].

mod args;
mod file;
mod limits;
mod resolve;
mod rest;
mod state_dir;
mod webhook;

pub use args::{Args, Command, DoctorArgs, DoctorFormat, LogFormat, SchedulerKind, ServeArgs};
pub use limits::LabelLimit;
pub use resolve::{ConfigError, Settings, resolve};
pub(crate) use state_dir::network_file_system;
pub use state_dir::{ADMIN_TOKEN, HINT_TOKEN, SCRAPER_TOKEN, SERVER_FILE, ServerFile, StateDir, StateDirError};
