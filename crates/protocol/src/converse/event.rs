//! The events of ConverseStream.
