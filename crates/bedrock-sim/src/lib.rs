//! A strict Bedrock Runtime on a local port: real wire format, real error texts, scripted faults.
