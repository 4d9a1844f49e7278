//! The Prometheus exporter.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds, from a small reply on loopback to a long stream.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];
/// Seconds that the gateway itself adds.
const OVERHEAD: &[f64] =
    &[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];
/// Between two sweeps of the recorded samples into their buckets.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// What `/metrics` shows.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

/// Installs the recorder of the process. Fails when one is installed already.
pub fn install() -> Result<Exporter, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(SECONDS)?
        .set_buckets_for_metric(Matcher::Full("outcrop_gateway_overhead_seconds".to_owned()), OVERHEAD)?
        .install_recorder()?;
    Ok(Exporter(handle))
}

impl Exporter {
    /// Prometheus text, version 0.0.4, with the process's own figures.
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        process(&mut text);
        logs(&mut text);
        text
    }

    /// Moves samples into buckets: without it an unscraped histogram grows. Call it every [`UPKEEP`].
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// What the logs lost.
fn logs(text: &mut String) {
    use std::fmt::Write as _;
    let name = "outcrop_log_lines_lost_total";
    let lost = crate::logs::lost();
    let help = "Log lines that stderr did not take.";
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {lost}\n\n");
}

/// Memory, threads and open files, read from the kernel where it has `/proc`.
fn process(text: &mut String) {
    use std::fmt::Write as _;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let mut gauge = |name: &str, help: &str, value: u64| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n\n");
    };
    if let Some(kib) = field("VmRSS:") {
        gauge("process_resident_memory_bytes", "Resident memory in bytes.", kib * 1024);
    }
    if let Some(threads) = field("Threads:") {
        gauge("process_threads", "Threads.", threads);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge("process_open_fds", "Open file descriptors.", files.count() as u64);
    }
}
