//! The native lane: edits that leave every other byte alone, and the relay of the answer.
