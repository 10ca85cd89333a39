//! From two observations to a verdict.
