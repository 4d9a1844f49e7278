//! What Converse is sent.
