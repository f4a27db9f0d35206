//! How far the import is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use walkdir::WalkDir;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of one import.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    done: AtomicU64,
    last_line: Mutex<Instant>,
    finished: AtomicBool,
}

impl Progress {
    /// Begins to show it. The entries are counted by a thread of its own, as that is far quicker than the import.
    pub fn start(dir: PathBuf, show: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::no_length();
        if show && terminal {
            let template = "{wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            let counting = bar.clone();
            std::thread::spawn(move || {
                let count = WalkDir::new(dir).into_iter().take_while(|_| !counting.is_finished()).count();
                counting.set_length(count as u64);
            });
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            bar,
            lines: show && !terminal,
            done: AtomicU64::new(0),
            last_line: Mutex::new(Instant::now()),
            finished: AtomicBool::new(false),
        }
    }

    /// One entry is dealt with.
    pub fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.inc(1);
        if self.lines
            && let Ok(mut last) = self.last_line.try_lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            eprintln!("{done} entries so far");
        }
    }

    /// Says something that concerns one entry.
    pub fn report(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if !self.finished.swap(true, Ordering::Relaxed) {
            self.bar.finish_and_clear();
        }
    }
}
