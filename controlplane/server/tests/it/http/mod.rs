//! The HTTP API as its callers see it: a real server on a free port, a real database, no Slurm. What the reconciler would
//! do is done through the store; agents are played through their own client.

mod access;
mod agents;
mod changing;
mod conditional;
mod creating;
mod described;
mod following;
mod hostile_bodies;
mod hostile_requests;
mod importing;
mod measured;
mod raw;
mod refusals;
mod repeating;
mod scraping;
mod selecting;
mod server;
mod sessions;
mod streaming;
mod watching;
