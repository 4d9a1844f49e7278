//! A Converse answer becomes a Messages answer.
