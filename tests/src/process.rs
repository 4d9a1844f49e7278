//! A gateway in a process of its own, to be killed and measured.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

/// The process; killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
    told: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program with `--name=value` settings, and waits until it serves.
    pub fn start(program: &str, settings: &[String]) -> Self {
        let mut child = Command::new(program)
            .args(["--port=0", "--log-format=json", "--drain-grace-seconds=0"])
            .args(settings)
            // Nothing of this machine's settings decides a test.
            .env_clear()
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told = Arc::<Mutex<Vec<String>>>::default();
        let (send, serving) = mpsc::channel();
        let kept = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines {
                if let Some(at) = line.find("is serving").and(line.find("127.0.0.1:")) {
                    let end = line[at..].find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
                    let _ = send.send(line[at..at + end.unwrap()].parse().unwrap());
                }
                // One line a request says nothing here.
                if !line.contains("\"request\"") {
                    kept.lock().unwrap().push(line);
                }
            }
        });
        let Ok(addr) = serving.recv_timeout(Duration::from_mins(1)) else {
            panic!("it does not serve: {:?}", told.lock().unwrap());
        };
        Self { addr, child, told }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "{:#?}", self.told());
    }

    /// What it logged, but for requests.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// What is behind its open file descriptors.
    pub fn open_files(&self) -> Vec<String> {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        links.map(|link| link.display().to_string()).collect()
    }

    /// Its memory, in KiB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
