//! SIGINT, SIGTERM and SIGHUP: the first ends a run with its results kept, the second at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

use probes::runner::cancel::Cancel;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::signal_name,
};

use super::Exit;

/// Which signal ended the run, if one did.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Cancels the run on the first signal, and exits on the second.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub fn watch(cancel: Arc<Cancel>) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let first = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&first);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if told
                        .compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst)
                        .is_err()
                    {
                        // The helpers end when this process does; the next run removes its directories.
                        std::process::exit(Exit::Interrupted as i32);
                    }
                    let cancel = Arc::clone(&cancel);
                    // Stopping a world may take its time, and the second signal must be heard meanwhile.
                    thread::spawn(move || cancel.cancel());
                }
            })?;
        Ok(Interrupt(first))
    }

    /// The name of the signal that came first.
    pub fn signal(&self) -> Option<&'static str> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(signal_name(number).unwrap_or("a signal")),
        }
    }
}
