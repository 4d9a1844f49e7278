//! A ConverseStream becomes a Messages stream.
