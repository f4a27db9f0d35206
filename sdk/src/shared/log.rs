//! Lines for the host's log. Nothing comes back, so nothing can depend on it.

use std::fmt;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Steps inside of a function.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What an operator may want to know.
    Info,
    /// Something is odd and things go on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line to the host's log; outside of a host to the standard error output.
pub fn log(level: Level, message: impl fmt::Display) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::bindings::cairn::plugin::log as host;
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, &message.to_string());
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Writes an [`Level::Info`] line.
pub fn info(message: impl fmt::Display) {
    log(Level::Info, message);
}

/// Writes a [`Level::Warn`] line.
pub fn warn(message: impl fmt::Display) {
    log(Level::Warn, message);
}

/// Writes an [`Level::Error`] line.
pub fn error(message: impl fmt::Display) {
    log(Level::Error, message);
}

/// Sends panics to the log before they trap; done once, by the glue.
pub(crate) fn send_panics_to_log() {
    #[cfg(target_arch = "wasm32")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| error(panic))));
    }
}
