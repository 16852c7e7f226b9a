//! Clients that go on asking while something happens, and what became of each request.
//!
//! Not a benchmark: the rate is low and fixed, and the only question is who was failed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Where one client's GETs go, each on a connection of its own.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called in reports.
    pub name: String,
    /// A sidecar's HTTP proxy, or the service itself.
    pub connect: SocketAddr,
    /// The request's target: absolute for a proxy.
    pub target: String,
    /// The `Host` header.
    pub host: String,
}

impl Target {
    /// Through a sidecar's HTTP proxy.
    ///
    /// # Errors
    /// `outbound` is no address.
    pub fn through_sidecar(outbound: &str, host: &str) -> Result<Self> {
        Ok(Self {
            name: format!("{host} through {outbound}"),
            connect: outbound.parse()?,
            target: format!("http://{host}/"),
            host: host.to_owned(),
        })
    }

    /// At the address that a name stands for.
    ///
    /// # Errors
    /// `address` is no address.
    pub fn at(address: &str, host: &str) -> Result<Self> {
        Ok(Self {
            name: format!("{host} at {address}"),
            connect: SocketAddr::new(address.parse()?, 80),
            target: "/".to_owned(),
            host: host.to_owned(),
        })
    }

    /// One GET; the body of an answer of 200.
    ///
    /// # Errors
    /// Any other answer, or none in time.
    pub fn get(&self) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.connect, PATIENCE).context("connect")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.target, self.host
        );
        stream.write_all(head.as_bytes()).context("write")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("read")?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(body.to_owned())
    }
}

/// Clients under way. Dropped, they stop.
#[derive(Debug)]
pub struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Seen {
    begun: Instant,
    stop: AtomicBool,
    figures: Mutex<Figures>,
    /// When each client began the last request that has ended.
    answered: Mutex<BTreeMap<String, Instant>>,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// All of them, retries not counted.
    pub requests: usize,
    /// Those that succeeded at the first try.
    pub at_once: usize,
    /// What went wrong at the first try, where a second one succeeded.
    pub retried: Vec<String>,
    /// What went wrong twice.
    pub failed: Vec<String>,
}

impl Load {
    /// One client for each target, ten requests a second at most.
    pub fn start(targets: Vec<Target>) -> Self {
        let seen = Arc::new(Seen {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            figures: Mutex::default(),
            answered: Mutex::default(),
        });
        let client = |target: Target| {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || seen.ask_until_stopped(&target))
        };
        let clients = targets.into_iter().map(client).collect();
        Self { seen, clients }
    }

    /// What became of the requests until now.
    pub fn figures(&self) -> Figures {
        self.seen.figures().clone()
    }

    /// Resolves once `count` more requests have been made.
    ///
    /// # Errors
    /// They were not within a minute.
    pub fn goes_on(&self, count: usize) -> Result<()> {
        let until = self.figures().requests + count;
        crate::eventually("requests go on", crate::SOON, || {
            match self.figures().requests {
                made if made >= until => Ok(()),
                made => bail!("{made} of {until}"),
            }
        })
    }

    /// Resolves once a request of each client has ended that it began after now: what was under
    /// way is counted then.
    ///
    /// # Errors
    /// Some client had none within a minute.
    pub fn all_go_on(&self) -> Result<()> {
        let now = Instant::now();
        crate::eventually("every client goes on", crate::SOON, || {
            let answered = self.seen.answered();
            let on = answered.values().filter(|begun| **begun > now).count();
            ensure!(on == self.clients.len(), "{on} of {}", self.clients.len());
            Ok(())
        })
    }

    /// Stops the clients; what became of all requests.
    ///
    /// # Errors
    /// A client panicked.
    pub fn end(mut self) -> Result<Figures> {
        self.seen.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            if client.join().is_err() {
                bail!("a client panicked");
            }
        }
        Ok(self.figures())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn figures(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_until_stopped(&self, target: &Target) {
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let first = target.get();
            let outcome = first.map_err(|first| {
                std::thread::sleep(BACKOFF);
                (first, target.get())
            });
            self.note(target, begun, outcome);
            self.answered().insert(target.name.clone(), begun);
            std::thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
        }
    }

    fn note(
        &self,
        target: &Target,
        begun: Instant,
        outcome: Result<String, (anyhow::Error, Result<String>)>,
    ) {
        let at = (begun - self.begun).as_secs_f32();
        let took = begun.elapsed().as_secs_f32();
        let told = |error| format!("{at:.1} s, took {took:.1} s, {}: {error:#}", target.name);
        let mut figures = self.figures();
        figures.requests += 1;
        match outcome {
            Ok(_) => figures.at_once += 1,
            Err((error, Ok(_))) => figures.retried.push(told(error)),
            Err((first, Err(second))) => {
                figures
                    .failed
                    .push(told(first.context(format!("{second:#}; before that"))));
            }
        }
    }
}

/// How long a client waits for a connection, and for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the retry, as any client has one. A killed process's sockets close one after
/// the other: at once, a retry may still find a listener whose process is gone.
const BACKOFF: Duration = Duration::from_millis(250);
/// From one request of a client to its next, at least.
const INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_that_fails_once_is_retried_and_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for number in 0..3 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).unwrap();
                if number > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhere").unwrap();
                }
            }
        });
        let target = Target {
            name: "it".to_owned(),
            connect,
            target: "/".to_owned(),
            host: "it".to_owned(),
        };
        let load = Load::start(vec![target]);
        load.goes_on(2).unwrap();
        server.join().unwrap();
        let figures = load.figures();
        assert_eq!((figures.at_once, figures.retried.len()), (1, 1));
        assert!(figures.retried[0].contains("no answer"), "{figures:?}");
        drop(load);
    }
}
