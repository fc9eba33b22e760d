//! The crate's one integration binary: real models and real servers, from the filled store that EM_TEST_STORE names.

mod ort;
mod services;
