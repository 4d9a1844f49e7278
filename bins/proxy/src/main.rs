//! The data plane: the Messages API in front, Bedrock behind.
fn main() {}
