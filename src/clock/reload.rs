//! [`Reload`]: the files that SIGHUP reads again. The thread `reload`, which the first SIGHUP starts, reads them: even
//! if a file system hangs, the program still reacts to a stop signal.
//!
//! Never replaces a value that works by one that is wrong.

use std::env;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Sender, TrySendError};
use threadcast::{Error, Result, TlsConfig};

use crate::clock::configuration::OptionValues;
use crate::clock::log_thread::LogFile;
use crate::clock::options::Options;
use crate::clock::token::Token;

/// The files to read again.
pub struct Reload {
    log: Option<LogFile>,
    files: Arc<ReloadedFiles>,
    /// To the thread, once it has been started. One request may wait while another one is carried out.
    wishes: OnceLock<Option<Sender<()>>>,
}

struct ReloadedFiles {
    tls: Option<TlsConfig>,
    tokens: Vec<Arc<Token>>,
    /// The effective values, if some of them are from a file.
    values: Option<OptionValues>,
}

/// Returns whether SIGHUP has something to read again. If not, SIGHUP ends the program.
pub fn is_possible(options: &Options) -> bool {
    let is_one = [
        &options.config,
        &options.log.log_file,
        &options.tls.tls_cert,
        &options.messages.publish_token_file,
        &options.messages.admin_token_file,
    ];
    is_one.iter().any(|file| file.is_some())
}

impl Reload {
    /// Returns the reload for these options; `None` if SIGHUP has nothing to read.
    pub fn new(
        options: &Options,
        log: Option<LogFile>,
        tls: Option<TlsConfig>,
        tokens: Vec<Arc<Token>>,
    ) -> Option<Reload> {
        let values = options.config.is_some().then(|| options.values.clone());
        let files = Arc::new(ReloadedFiles { tls, tokens, values });
        is_possible(options).then(|| Reload { log, files, wishes: OnceLock::new() })
    }

    /// Asks for all of it to be read again. Does not block.
    pub fn begin(&self) {
        self.log.iter().for_each(LogFile::reopen);
        let started = self.wishes.get_or_init(|| match start(self.files.clone()) {
            Ok(wishes) => Some(wishes),
            Err(error) => {
                log::error!("cannot reload: {error}");
                None
            }
        });
        if let Some(Err(TrySendError::Full(()))) = started.as_ref().map(|wishes| wishes.try_send(())) {
            log::info!("another reload is already pending");
        }
    }
}

fn start(files: Arc<ReloadedFiles>) -> Result<Sender<()>> {
    let (wishes, to_do) = crossbeam_channel::bounded(1);
    let run = move || to_do.iter().for_each(|()| files.read());
    let thread = thread::Builder::new().name("reload".to_owned()).spawn(run);
    thread.map_err(Error::io("cannot start the thread reload"))?;
    Ok(wishes)
}

impl ReloadedFiles {
    fn read(&self) {
        if let Some(tls) = &self.tls {
            told("certificate", tls.reload());
        }
        for token in &self.tokens {
            told(token.name(), token.reload());
        }
        let Some(values) = &self.values else { return };
        match Options::parse(env::args_os(), env::vars_os()) {
            Err((mistake, _)) => {
                log::error!(
                    "the configuration has a mistake, so a restart would fail: {}",
                    mistake.trim_end()
                );
            }
            Ok(new) => match &values.changed(&new.values)[..] {
                [] => {}
                changed => log::warn!("only a restart changes {}", changed.join(", ")),
            },
        }
    }
}

fn told(what: &str, reloaded: Result<bool>) {
    match reloaded {
        Ok(true) => log::info!("reloaded the {what}"),
        Ok(false) => {}
        Err(error) => log::error!("cannot reload the {what}, so the old one stays in use: {error}"),
    }
}
