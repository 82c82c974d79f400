//! The system calls of a client's life, from the accept to the join of its thread, counted by strace.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite;

use crate::experiment::Setup;
use crate::failure::{Failure, While};
use crate::manifest::{Manifest, Variant};
use crate::process::Process;
use crate::report::numbers::number;
use crate::report::verdicts::SUBJECT;
use crate::server::Server;

/// Clients that come, and then go.
const LIVES: usize = 500;
/// Clients before those: the first ones load code and grow tables.
const WARM_UP: usize = 50;
/// The most calls of a life.
const TARGET: f64 = 28.0;
/// The time limit for a client and for its thread to end.
const DEADLINE: Duration = Duration::from_secs(20);

/// Counts the calls of a client that connects, gets its WebSocket, closes it, and ends; returns the bench's line.
pub fn line(manifest: &Manifest) -> Result<String, Failure> {
    let what = format!("system calls of a client's life, {SUBJECT}");
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        return Ok(format!("{what}: not measured (target <= {}): strace is not installed", number(TARGET)));
    }
    let calls = measure(manifest)?;
    let verdict = if calls <= TARGET { "met" } else { "MISSED" };
    Ok(format!("{what}: {} calls, target <= {}: {verdict}", number(calls), number(TARGET)))
}

fn measure(manifest: &Manifest) -> Result<f64, Failure> {
    let variant = manifest.variants.iter().find(|variant| variant.name == SUBJECT);
    let variant = variant.ok_or_else(|| Failure::new(format!("the manifest has no {SUBJECT}")))?;
    let trace = std::env::temp_dir().join(format!("threadcast-calls-{}", std::process::id()));
    let calls = trace_lives(manifest, variant, &trace);
    let _ = fs::remove_file(&trace);
    calls
}

fn trace_lives(manifest: &Manifest, variant: &Variant, trace: &Path) -> Result<f64, Failure> {
    // With -D the server is our child, and the tracer ends with it.
    let mut traced = variant.clone();
    let tracer = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o"].map(str::to_owned);
    let command = std::mem::take(&mut traced.command);
    traced.command = tracer.into_iter().chain([trace.display().to_string()]).chain(command).collect();
    let server = Server::start(manifest, &traced, &Setup { interval: Duration::from_secs(3600), pad: 0 })?;
    come_and_go(&server, 1)?;
    let idle = Process::new(server.pid()).memory()?.threads;
    let mut counts = [0; 2];
    for (lives, count) in [WARM_UP, LIVES].into_iter().zip(&mut counts) {
        come_and_go(&server, lives)?;
        wait_for_threads(&server, idle)?;
        *count = count_calls(&fs::read_to_string(trace).doing(format!("read {}", trace.display()))?);
    }
    Ok((counts[1] - counts[0]) as f64 / LIVES as f64)
}

/// Connects this many clients. Then each of them closes, and waits for the server's Close and the end.
fn come_and_go(server: &Server, clients: usize) -> Result<(), Failure> {
    let connect = |number: usize| {
        let stream = TcpStream::connect(server.address).doing("connect")?;
        stream.set_read_timeout(Some(DEADLINE)).doing("connect")?;
        let url = format!("ws://{}/websocket?Id=life-{number}", server.address);
        tungstenite::client(url, stream).doing("connect")
    };
    for client in (0..clients).map(connect).collect::<Vec<_>>() {
        let (mut socket, _) = client?;
        socket.close(None).doing("close")?;
        let end = loop {
            if let Err(end) = socket.read() {
                break end;
            }
        };
        if !matches!(end, tungstenite::Error::ConnectionClosed) {
            return Err(end).doing("wait for the server's Close");
        }
    }
    Ok(())
}

/// Waits until the threads of all clients have ended.
fn wait_for_threads(server: &Server, idle: f64) -> Result<(), Failure> {
    let deadline = Instant::now() + DEADLINE;
    while Process::new(server.pid()).memory()?.threads > idle {
        if Instant::now() > deadline {
            return Err(Failure::new("a client's thread has not ended"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Counts the calls in a trace: a call that another thread interrupts has a second line, and a thread's end has one
/// that is not a call.
fn count_calls(trace: &str) -> usize {
    trace.lines().filter(|line| !line.contains(" resumed>") && !line.contains("+++ ")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_once() {
        let trace = "7 poll([{fd=3}], 1, -1 <unfinished ...>\n8 close(4) = 0\n7 <... poll resumed>) = 1\n\
             8 exit(0) = ?\n8 +++ exited with 0 +++\n";
        assert_eq!(count_calls(trace), 3);
    }
}
