//! Signals: which ones end the program, and which ones do not. On the thread `threadcast`, and from the first stop
//! signal on `signals`, so that the next one is heard while the server shuts down.
//!
//! All others keep their defaults. Rust's runtime ignores SIGPIPE.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::clock::reload::Reload;
use threadcast::{Error, Result};

/// A second stop signal within this time counts as the same one: `timeout` signals a process and its group, a terminal
/// that closes and its shell both say so, and systemd may send SIGHUP behind SIGTERM.
const SAME_WISH: Duration = Duration::from_secs(1);

/// By default these kill the process. A write beyond a limit of the system fails with an error instead, and a request
/// for a successor does nothing until [`listen`].
const HARMLESS: [i32; 2] = [SIGXFSZ, SIGUSR2];

/// Unblocks signals that a parent may have blocked, and takes the effect from [`HARMLESS`] ones. Must run before
/// another thread starts, since each one inherits the mask.
///
/// # Errors
/// [`Error::Io`] if the system refuses.
pub fn prepare() -> Result<()> {
    SigSet::empty().thread_set_mask().map_err(|errno| Error::io("cannot unblock signals")(errno.into()))?;
    // A handler without effect: child processes would inherit an ignored signal.
    let unread = Arc::new(AtomicBool::new(false));
    for signal in HARMLESS {
        flag::register(signal, unread.clone())
            .map_err(Error::io(format!("cannot handle signal {signal}")))?;
    }
    Ok(())
}

/// The start of the program, which may block: in a name's look-up, or a file system that hangs. Until it is over, a
/// stop signal exits the process at once with success: nothing has to be shut down yet.
pub struct Starting(Arc<AtomicBool>);

impl Starting {
    /// Begins it. If `reloads`, SIGHUP does not end the program.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn begin(reloads: bool) -> Result<Starting> {
        let is_starting = Arc::new(AtomicBool::new(true));
        let hangup = (!reloads && !is_ignored(&own_status(), SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            flag::register_conditional_shutdown(signal, 0, is_starting.clone())
                .map_err(Error::io("cannot wait for signals"))?;
        }
        Ok(Starting(is_starting))
    }

    /// Ends it: from now on a stop signal waits for [`wait_for_end`].
    pub fn end(self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn own_status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Collects signals for [`wait_for_end`] from now on. SIGINT and SIGTERM also if they were ignored, since a shell
/// ignores them for programs in the background. SIGHUP only if it was not, since `nohup` ignores it on purpose.
///
/// # Errors
/// [`Error::Io`] if the system refuses.
pub fn listen() -> Result<Signals> {
    let hangup = (!is_ignored(&own_status(), SIGHUP)).then_some(SIGHUP);
    let signals = [SIGINT, SIGTERM, SIGUSR1, SIGUSR2].into_iter().chain(hangup);
    Signals::new(signals).map_err(Error::io("cannot wait for signals"))
}

/// Blocks until a stop signal comes. SIGUSR1 asks for the numbers, SIGUSR2 for a successor, and SIGHUP for a reload if
/// there is something to read again.
pub fn wait_for_end(signals: &mut Signals, reload: Option<&Reload>, numbers: impl Fn(), succeed: impl Fn()) {
    for signal in signals.forever() {
        match (signal, reload) {
            (SIGUSR1, _) => numbers(),
            (SIGUSR2, _) => succeed(),
            (SIGHUP, Some(reload)) => reload.begin(),
            _ => return,
        }
    }
}

/// Ends the process at the next stop signal that does not count as the same one.
pub fn end_at_the_next(mut signals: Signals, reload: Option<Reload>) {
    let first = Instant::now();
    let listen = move || {
        for signal in signals.forever() {
            match (signal, &reload) {
                (SIGUSR1 | SIGUSR2, _) => {}
                (SIGHUP, Some(reload)) => reload.begin(),
                _ if first.elapsed() < SAME_WISH => {}
                _ => low_level::exit(128 + signal),
            }
        }
    };
    if thread::Builder::new().name("signals".to_owned()).spawn(listen).is_err() {
        // Without a thread nobody can tell how late it is.
        for signal in [SIGINT, SIGTERM] {
            let _ =
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::new(AtomicBool::new(true)));
        }
    }
}

/// Returns whether the `status` of a process in `/proc` says so; the mask has a bit for each signal from 1.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask_of_the_status() {
        for (status, ignored) in [
            ("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n", true),
            ("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", false),
            ("SigIgn:\tffffffffffffffff\n", true),
            ("SigIgn:\tx\n", false),
            ("", false),
        ] {
            assert_eq!(is_ignored(status, SIGHUP), ignored, "{status}");
        }
    }
}
