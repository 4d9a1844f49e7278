//! What Outcrop remembers: keys and usage, behind one trait.
