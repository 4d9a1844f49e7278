//! Start-up, once: the `.env` file, logs, the metrics exporter, signals.

pub mod dynamodb;
pub mod env;
pub mod logs;
pub mod mapping;
pub mod metrics;
pub mod signals;
