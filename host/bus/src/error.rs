//! What is wrong with a configuration. Nothing else is an error to the outside: a Redis that fails is a state, not an answer.

/// Why no connection to a Redis could even be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one of Redis'. Its text is not repeated: it may hold a password.
    #[error(
        "the URL of Redis is not understood ({reason}): expected redis://[user:password@]host[:port][/database]"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The URL asks for TLS.
    #[error(
        "this build has no TLS for Redis: use redis:// and, across machines, a tunnel (stunnel, a service mesh)"
    )]
    Tls,
    /// A setting that cannot work.
    #[error("{key} {problem}")]
    Option {
        /// Which.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}
