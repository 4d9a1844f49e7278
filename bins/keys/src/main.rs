//! Key management on the command line.
fn main() {}
