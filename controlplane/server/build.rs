//! Builds again when a migration or the dashboard's built assets change: both are compiled in.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
    println!("cargo::rerun-if-changed=../../web/dist");
}
