//! Random networks for property tests.
