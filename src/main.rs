//! The program `threadcast`: options, logging, the server, the `send` thread, and a wait for a signal.
#![forbid(unsafe_code)]

mod clock;
mod lab;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::clients::Clients;
use crate::clock::notify::Watchdog;
use crate::clock::options::Options;
use crate::clock::options::instead::InsteadOptions;
use crate::clock::reload::Reload;
use crate::clock::send_thread::{Rounds, SendThread};
use crate::clock::signals::Starting;
use crate::clock::succession::{Predecessor, Succession};
use crate::clock::{
    application, console, ending, health_probe, listening, logging, notify, printed, redirect, reload,
    signals, tls,
};
use crate::lab::beside::Beside;
use crate::lab::setup::{Lab, Running, Setup};
use crate::lab::{commands, page};
use chrono::Local;
use threadcast::{Application, Connection, Error, Fleet, Result, StaticFiles};

fn main() -> ExitCode {
    threadcast::begin_again();
    let predecessor = Predecessor::find();
    match Options::parse(env::args_os(), env::vars_os()) {
        Ok(options) => {
            console::set_format(options.log.log_format);
            options.warnings.iter().for_each(console::warn);
            let ended = signals::prepare().and_then(|()| act(&options, predecessor.as_ref()));
            log::logger().flush();
            match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    predecessor.inspect(|predecessor| predecessor.tell(&error));
                    console::complain(format_args!("threadcast: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
        Err((text, 0)) => {
            console::print_text(&text);
            ExitCode::SUCCESS
        }
        Err((text, code)) => {
            console::complain(text.trim_end());
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// Serves, or does what an option asks for instead.
fn act(options: &Options, predecessor: Option<&Predecessor>) -> Result<()> {
    match &options.instead {
        InsteadOptions { check: true, .. } => check(options),
        InsteadOptions { health: Some(url), .. } => health_probe::ask(url),
        InsteadOptions { man: true, .. } => printed::man(),
        InsteadOptions { completions: Some(shell), .. } => {
            printed::completions(*shell);
            Ok(())
        }
        _ => run(options, predecessor),
    }
}

/// Serves until a signal comes.
fn run(options: &Options, predecessor: Option<&Predecessor>) -> Result<()> {
    // First, since the numbers of their descriptors are known only while nothing else is open.
    let sockets = listening::handed_over(options, predecessor)?;
    let starting = Starting::begin(reload::is_possible(options))?;
    let mut wishes = signals::listen()?;
    let log = logging::start(&options.log)?;
    let clients = Arc::new(Clients::new());
    let before = predecessor.map(|predecessor| predecessor.process);
    let also = if options.lab.lab { commands::run } else { |_: &str| {} };
    let (application, capacity, readings) = application::make_application(options, &clients, also, before)?;
    let (lab, application) = if options.lab.lab {
        lab(options, &clients, application).map(|(lab, application)| (Some(lab), application))?
    } else {
        (None, application)
    };
    let tls = tls::make_tls(options)?;
    let application = match &tls {
        Some(tls) => application.tls(tls.config.clone()),
        None => application,
    };
    starting.end();
    let server = listening::bind(options, "port", options.port, application, capacity, sockets.main)?;
    let server = Arc::new(server);
    let redirect = options.tls.http_port.map(|port| {
        let application = redirect::application(server.local_addr().port(), options.clients.stack_size);
        let application =
            application::behind_proxies(application, options).hosts(application::hosts(options));
        listening::bind(options, "http-port", port, application, redirect::CAPACITY, sockets.redirect)
    });
    let redirect = redirect.transpose()?;
    let lab = lab.map(|lab| lab.start(server.local_addr())).transpose()?;
    let rounds = Rounds {
        interval: options.pushes.interval,
        pad: options.lab.pad,
        threads: options.pushes.push_threads,
        wall: Local::now,
    };
    let send = SendThread::start(clients, rounds, readings.rounds.clone())
        .map_err(Error::io("cannot start the thread send"))?;
    listening::announce(&server, options.lab.lab, tls.as_ref(), redirect.as_ref());
    drop(log.held);
    let watchdog = Watchdog::start(&server, &readings.rounds);
    let watchdog = watchdog.map_err(Error::io("cannot start the thread watchdog"))?;
    notify::ready(&server);
    predecessor.into_iter().for_each(Predecessor::leave);
    let succession = Succession::default();
    let succeed = || succession.begin(ending::sockets(&server, redirect.as_ref()));
    let reload = Reload::new(options, log.file, tls.map(|tls| tls.config), readings.tokens.clone());
    signals::wait_for_end(&mut wishes, reload.as_ref(), || logging::print_line(readings.read()), succeed);
    signals::end_at_the_next(wishes, reload);
    log::info!("{}", readings.read());
    log::info!("shutting down; another signal after a second ends the program at once");
    // First, since the server's end would wait for the lab's clients.
    lab.into_iter().for_each(Running::stop);
    ending::drain(&server, &options.ending, succession.end());
    drop(redirect);
    watchdog.into_iter().for_each(Watchdog::stop);
    send.stop();
    // The handlers, which have it too, are gone.
    readings.fleet.and_then(Arc::into_inner).into_iter().for_each(Fleet::leave);
    Ok(())
}

/// Checks the options as [`run`] would use them, and prints them.
fn check(options: &Options) -> Result<()> {
    console::print_text(&options.values.to_toml());
    let clients = Arc::new(Clients::new());
    let (application, capacity, _) = application::make_application(options, &clients, |_| {}, None)?;
    if options.lab.lab {
        lab(options, &clients, application)?;
    }
    tls::make_tls(options)?;
    options.log.log_file.as_deref().map_or(Ok(()), logging::check_log_file)?;
    let _port = listening::try_port(options, "port", options.port)?;
    let _redirect =
        options.tls.http_port.map(|port| listening::try_port(options, "http-port", port)).transpose()?;
    console::print_text(&format!("# up to {} clients ({})\n", capacity.clients, capacity.limit));
    Ok(())
}

/// Returns the lab, and the application with its routes.
fn lab(options: &Options, clients: &Arc<Clients>, application: Application) -> Result<(Lab, Application)> {
    let beside: Result<_, _> = options.lab.beside.iter().map(|text| Beside::parse(text)).collect();
    let clients = clients.clone();
    let setup = Setup {
        interval: options.pushes.interval,
        delivery: options.pushes.delivery.into(),
        pages: options.www.as_ref().map_or(Ok(page::PAGES), StaticFiles::directory)?,
        tls: options.tls.tls_cert.is_some() || options.tls.tls_self_signed,
        beside: beside.map_err(|error| Error::invalid(format!("--beside: {error}")))?,
        clients: Box::new(move || {
            let (connections, ids) = clients.snapshot(usize::MAX);
            connections.iter().map(Connection::id).zip(ids).collect()
        }),
    };
    Ok(Lab::new(setup, application))
}
