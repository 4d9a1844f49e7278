//! Wire schemas of the Anthropic Messages API and of Bedrock Converse, and SSE framing.
