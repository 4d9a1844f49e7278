//! Start-up, once: settings files, logs, metrics exporter, signals.
