//! What a caller sends.
use std::marker::PhantomData;
/// Placeholder until the schema lands.
pub struct Request<'a>(PhantomData<&'a ()>);
/// Where and why a body does not fit the schema.
pub struct Fault;
/// Reads a request.
pub fn parse(_body: &str) -> Result<Request<'_>, Fault> {
    Err(Fault)
}
