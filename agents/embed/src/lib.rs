//! Embedding services: our own on ONNX Runtime, and vLLM, HuggingFace and others as child processes behind one interface.
//! Knows nothing of experiments, load or the control plane beyond the words on the wire (`em-api`).

pub mod conformance;
pub mod engine;
pub mod launch;
pub mod parity;
pub mod prepare;
pub mod serve;
pub mod setup;
