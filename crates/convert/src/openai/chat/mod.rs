//! Chat Completions ⇄ Messages.
