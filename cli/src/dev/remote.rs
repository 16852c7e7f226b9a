//! The other end of [`control`](super::control): asks the `weft dev` that runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use weft_model::code;

use super::control::{Reply, Request};
use super::place::Place;
use super::status::DevStatus;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};
use crate::progress;

/// Asks for something to be done, and says what was.
pub(crate) fn ask(request: &Request) -> Result<Exit, Problem> {
    let what = match request {
        Request::BreakCluster { .. } | Request::BreakLink { .. } => "watching the traffic",
        Request::Heal { .. } => "waiting for gateways and endpoints",
        Request::Status | Request::Down => "waiting",
    };
    let reply = progress::during(what, || exchange(request));
    output::narrate(&reply?.done()?);
    Ok(Exit::Done)
}

/// Stops it, and returns when nothing of it runs. None running is what was wanted.
pub(crate) fn down() -> Result<Exit, Problem> {
    match connect()? {
        Some(stream) => {
            let stopping = || talk(stream, &Request::Down);
            let reply = progress::during("waiting for every process to end", stopping);
            output::narrate(&reply?.done()?);
        }
        None => output::narrate("weft dev is not running"),
    }
    Ok(Exit::Done)
}

/// What runs where, if it does and answers.
pub(crate) fn running() -> Option<DevStatus> {
    match talk(connect().ok()??, &Request::Status) {
        Ok(Reply::Status(status)) => Some(*status),
        _ => None,
    }
}

/// Prints what runs where; exits 1 if it is not ready.
pub(crate) fn status(format: Format) -> Result<Exit, Problem> {
    let Reply::Status(status) = exchange(&Request::Status)? else {
        return Err(Problem::new(code::REFUSED, "weft dev gave no status"));
    };
    match format {
        Format::Json | Format::Yaml => output::value(format, &status),
        Format::Name => status
            .clusters
            .iter()
            .for_each(|cluster| output::data(&cluster.name)),
        Format::Table | Format::Wide => print(&status),
    }
    Ok(if status.ready {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print(status: &DevStatus) {
    let state = if status.ready { "ready" } else { "starting" };
    output::data(&format!(
        "{state}   process {}   {}\n",
        status.pid,
        status.dir.display()
    ));
    let mut rows = Vec::new();
    for cluster in &status.clusters {
        let mut row = |what: &str, pid: Option<u32>, address: &str| {
            let pid = pid.map_or_else(|| "ended".to_owned(), |pid| pid.to_string());
            rows.push(vec![
                cluster.name.clone(),
                what.to_owned(),
                pid,
                address.to_owned(),
            ]);
        };
        for gateway in &cluster.gateways {
            row(
                &format!("gateway {}", gateway.name),
                gateway.pid,
                &format!("API {}", gateway.api),
            );
        }
        for workload in &cluster.workloads {
            let name = format!("{} {}", workload.service, workload.version);
            row(&name, workload.pid, &workload.address);
            row(
                "  its sidecar",
                workload.sidecar_pid,
                &format!("proxy {}", workload.outbound),
            );
        }
    }
    output::table(&["CLUSTER", "PROCESS", "PID", "ADDRESS"], rows);
}

fn exchange(request: &Request) -> Result<Reply, Problem> {
    let stream = connect()?.ok_or_else(|| {
        Problem::new(code::UNREACHABLE, "weft dev is not running").next("Start it: weft dev")
    })?;
    talk(stream, request)
}

/// None if nobody listens.
fn connect() -> Result<Option<UnixStream>, Problem> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match UnixStream::connect(Place::of_user()?.socket()) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
        Err(error) => Err(lost(error)),
    }
}

fn talk(stream: UnixStream, request: &Request) -> Result<Reply, Problem> {
    let mut line = serde_json::to_string(request).expect("a request is plain values");
    line.push('\n');
    (&stream).write_all(line.as_bytes()).map_err(lost)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(lost)?;
    serde_json::from_str(&answer).map_err(lost)
}

fn lost(error: impl std::fmt::Display) -> Problem {
    Problem::new(code::UNREACHABLE, "weft dev does not answer")
        .detail(error)
        .next("It may have ended just now: weft dev status")
}
