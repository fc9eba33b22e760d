//! HTTP client of the control plane.
