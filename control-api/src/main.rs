//! The control API as a program of its own.
fn main() {}
