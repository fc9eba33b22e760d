//! Calls that agents make.
