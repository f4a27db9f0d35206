//! A Redis server.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::guardian::Guardian;
use crate::process::{ATTEMPTS, find, free_port, listens, pause, signal, tail, wait_for};

/// A server that keeps nothing on the disk: whatever ends it, it is empty afterwards. It ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    binary: PathBuf,
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    guardian: Guardian,
}

impl Redis {
    /// Starts a server.
    pub fn start() -> Self {
        let binary = find("redis-server", &[]).unwrap_or_else(|| {
            panic!(
                "there is no Redis on this machine: install the package `redis-server` (Homebrew: `redis`)"
            )
        });
        let folder = tempfile::Builder::new().prefix("cairn-redis-").tempdir().expect("a temporary folder");
        let guardian = Guardian::over(folder.path());
        let mut server = Self { binary, folder, port: 0, server: None, guardian };
        server.launch();
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server.
    pub fn kill9(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        server.kill().expect("the server is killed");
        server.wait().expect("the server ends");
        self.guardian.forget();
    }

    /// Stops the server in good order.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        signal(server.id(), Signal::TERM);
        server.wait().expect("the server ends");
        self.guardian.forget();
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Halts the server: nothing is refused, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, which: Signal) {
        if let Some(server) = &self.server {
            signal(server.id(), which);
        }
    }

    /// The first time the port may be taken by somebody else in between. Afterwards it is kept, as URLs have it; then what
    /// is left of the server before may be in the way for a moment.
    fn launch(&mut self) {
        let is_first = self.port == 0;
        for _ in 0..ATTEMPTS {
            if is_first {
                self.port = free_port();
            }
            if self.try_launch() {
                return;
            }
            pause();
        }
        panic!("Redis does not start:\n{}", tail(&self.folder.path().join("log")));
    }

    fn try_launch(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a log file");
        let mut command = Command::new(&self.binary);
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(self.folder.path());
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        let mut server = command.process_group(0).spawn().expect("Redis starts");
        self.guardian.watch(server.id());
        let mut ended = false;
        wait_for("Redis does not take connections", || {
            ended = server.try_wait().expect("a process").is_some();
            ended || listens(self.port)
        });
        if ended {
            return false;
        }
        self.server = Some(server);
        true
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.cont();
        self.kill9();
    }
}
