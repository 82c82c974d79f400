//! The client for the Autobahn testsuite's server, which drives it through the cases: it echoes each message.
//!
//! `cargo run --features deflate --example autobahn_client ws://127.0.0.1:9001`; `run.sh --client` does that.

use std::process::ExitCode;

use threadcast::client::{self, Builder};
use threadcast::{Error, Result};

/// More than any case sends.
const ROOM: usize = 64 << 20;

fn main() -> ExitCode {
    let Some(server) = std::env::args().nth(1) else {
        eprintln!("autobahn_client: the address of the suite's server is missing, as ws://127.0.0.1:9001");
        return ExitCode::from(2);
    };
    match run(&server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autobahn_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(server: &str) -> Result<()> {
    let (_connection, mut count) = client::connect(&format!("{server}/getCaseCount"))?;
    let cases: u32 = match count.recv()? {
        Some(message) => message.to_string().parse().map_err(Error::other)?,
        None => return Err(Error::invalid("the server does not say how many cases there are")),
    };
    for case in 1..=cases {
        let builder = Builder::new(&format!("{server}/runCase?case={case}&agent=threadcast"));
        let builder = builder.max_message(ROOM).max_backlog(ROOM).compression(Some(1));
        let (connection, messages) = builder.connect()?;
        // Many cases are about errors; the suite judges them.
        for message in messages.map_while(Result::ok) {
            let _ = connection.write_message(message);
        }
    }
    let (_connection, report) = client::connect(&format!("{server}/updateReports?agent=threadcast"))?;
    report.for_each(drop);
    Ok(())
}
