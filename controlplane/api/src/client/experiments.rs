//! Calls that people make.
