//! Why a request got no answer, or an unwelcome one.

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server answered Rlerror with this errno.
    #[error("the 9P server answered with error {0} ({err})", err = std::io::Error::from_raw_os_error(*.0))]
    Server(i32),
    /// The connection ended, or broke down; every later request ends the same way.
    #[error("the connection to the 9P server is lost ({0}); mount again once the server runs")]
    Lost(String),
    /// The server sent what 9P2000.L does not allow.
    #[error("the 9P server broke the protocol: {0}")]
    Protocol(String),
    /// The request does not fit into the message size that was negotiated, or into its field.
    #[error("the request does not fit a 9P message: {0}")]
    TooLarge(&'static str),
    /// The caller gave the request up before its reply came, and the server dropped it.
    #[error("the request was given up before the 9P server answered")]
    Flushed,
    /// No reply came within the time that the caller allowed.
    #[error("the 9P server did not answer in time")]
    TimedOut,
}

impl ClientError {
    /// The errno that a program sees for this error, positive.
    pub fn errno(&self) -> i32 {
        match self {
            ClientError::Server(errno) => *errno,
            ClientError::Lost(_) | ClientError::Protocol(_) => libc::EIO,
            ClientError::TooLarge(_) => libc::ENAMETOOLONG,
            ClientError::Flushed | ClientError::TimedOut => libc::EINTR,
        }
    }
}
