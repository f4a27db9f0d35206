//! Who ends a server when the test process cannot.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads the pids to kill, one a line (a later line replaces the one before, an empty one means none); at the end of its input it kills the last one,
/// waits, and removes the folder.
const SCRIPT: &str = r#"
    trap '' HUP INT TERM
    pid=
    while read -r line; do pid=$line; done
    if [ -n "$pid" ]; then
        kill -CONT "$pid" 2>/dev/null
        kill -QUIT "$pid" 2>/dev/null
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        kill -KILL "$pid" 2>/dev/null
    fi
    rm -rf "$1"
"#;

/// A process that outlives the test process for a moment.
#[derive(Debug)]
pub struct Guardian {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Watches over a folder, and later over a process.
    pub fn over(folder: &Path) -> Self {
        let mut process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guardian"])
            .arg(folder)
            // Whoever signals the test's process group must not hit it too.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a guardian");
        let pipe = process.stdin.take();
        Self { process, pipe }
    }

    /// Says which process the server is by now.
    pub fn watch(&mut self, pid: u32) {
        if let Some(pipe) = &mut self.pipe {
            writeln!(pipe, "{pid}").expect("the guardian listens");
        }
    }

    /// Says that there is no server to be killed any more.
    pub fn forget(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            writeln!(pipe).expect("the guardian listens");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.pipe = None;
        // An error means that it has ended before.
        let _ = self.process.wait();
    }
}
