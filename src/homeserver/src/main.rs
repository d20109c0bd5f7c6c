//! The `cliquepay` binary.
fn main() {}
