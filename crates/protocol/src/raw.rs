//! JSON text that is carried as it came.
