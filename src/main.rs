//! The program `threadcast`: options, logging, the server, the `send` thread, and a wait for a signal.
#![forbid(unsafe_code)]

mod clock;
mod lab;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::clients::Clients;
use crate::clock::options::Options;
use crate::clock::send_thread::{Rounds, SendThread};
use crate::clock::signals::Starting;
use crate::clock::{application, console, listening, logging, redirect, signals, tls};
use crate::lab::beside::Beside;
use crate::lab::setup::{Lab, Running, Setup};
use crate::lab::{commands, page};
use chrono::Local;
use threadcast::{Application, Connection, Error, Fleet, Result, StaticFiles};

fn main() -> ExitCode {
    threadcast::begin_again();
    match Options::parse_from_args(env::args_os()) {
        Ok(options) => {
            let ended = signals::prepare().and_then(|()| run(&options));
            log::logger().flush();
            match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    console::complain(format_args!("threadcast: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
        Err((text, 0)) => {
            console::print(&text);
            ExitCode::SUCCESS
        }
        Err((text, code)) => {
            console::complain(text.trim_end());
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// Serves until a signal comes.
fn run(options: &Options) -> Result<()> {
    let starting = Starting::begin(options.log.log_file.is_some())?;
    let mut wishes = signals::listen()?;
    let log = logging::start(options.log.logging.filter(), options.log.log_file.as_deref())?;
    let clients = Arc::new(Clients::new());
    let also = if options.lab.lab { commands::run } else { |_: &str| {} };
    let (application, capacity, readings) = application::from_options(options, &clients, also)?;
    let (lab, application) = if options.lab.lab {
        lab(options, &clients, application).map(|(lab, application)| (Some(lab), application))?
    } else {
        (None, application)
    };
    let tls = tls::from_options(options)?;
    let application = match &tls {
        Some(tls) => application.tls(tls.config.clone()),
        None => application,
    };
    starting.end();
    let server = listening::bind(options, "--port", options.port, application, capacity)?;
    let redirect = options.tls.http_port.map(|port| {
        let application = redirect::application(server.local_addr().port(), options.clients.stack_size);
        let application = application.hosts(application::hosts(options));
        listening::bind(options, "--http-port", port, application, redirect::CAPACITY)
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
    signals::wait_for_end(&mut wishes, log.file.as_ref(), || logging::print(readings.read()));
    signals::end_at_the_next(wishes, log.file);
    log::info!("{}", readings.read());
    log::info!("shutting down; another signal, a second or more from now, ends at once");
    // First, since its clients would be waited for.
    lab.into_iter().for_each(Running::stop);
    server.drain(options.ending.drain_delay, options.ending.drain);
    drop(redirect);
    send.stop();
    // The handlers, which have it too, are gone.
    readings.fleet.and_then(Arc::into_inner).into_iter().for_each(Fleet::leave);
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
