//! What a caller gets: the message, usage, errors.
