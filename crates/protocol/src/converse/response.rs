//! What Converse answers.
