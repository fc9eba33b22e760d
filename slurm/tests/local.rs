//! The local transport with real processes: what a job does, how it is ended, and what a server's death changes (nothing).

#[path = "local/bench.rs"]
mod bench;
#[path = "local/death.rs"]
mod death;
#[path = "local/ends.rs"]
mod ends;
#[path = "local/queue.rs"]
mod queue;
