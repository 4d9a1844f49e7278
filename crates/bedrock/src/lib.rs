//! The Bedrock Runtime client: signing, transport, event streams, deadlines, retries.
