//! How `weft dev status`, `break`, `heal` and `down` reach the one that runs: one
//! request and one reply, each a line of JSON, on a Unix socket in the user's
//! [`Place`].

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use weft_model::{ClusterName, Code, code};

use super::federation::{Federation, Phase};
use super::place::Place;
use super::status::DevStatus;
use crate::problem::Problem;

/// The longest request, in bytes.
const REQUEST_MAX: u64 = 4096;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// What runs where.
    Status,
    /// Kill every process of a cluster.
    BreakCluster {
        /// It.
        cluster: ClusterName,
    },
    /// Cut the network between two clusters.
    BreakLink {
        /// One.
        a: ClusterName,
        /// The other.
        b: ClusterName,
    },
    /// Mend everything, and wait this long for all to find each other again.
    Heal {
        /// Seconds.
        #[serde(default = "heal_wait_default")]
        wait: u64,
    },
    /// Stop; the reply comes once nothing runs.
    Down,
}

/// As `weft dev heal` has it.
fn heal_wait_default() -> u64 {
    60
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    Status(Box<DevStatus>),
    Done(String),
    Problem {
        code: String,
        what: String,
        detail: Option<String>,
        next: Option<String>,
    },
}

impl From<Result<String, Problem>> for Reply {
    fn from(result: Result<String, Problem>) -> Self {
        match result {
            Ok(text) => Self::Done(text),
            Err(Problem {
                code,
                what,
                detail,
                next,
                exit: _,
            }) => Self::Problem {
                code: code.to_string(),
                what,
                detail: detail.map(Into::into),
                next: next.map(Into::into),
            },
        }
    }
}

impl Reply {
    /// The text of what was done.
    pub(super) fn done(self) -> Result<String, Problem> {
        match self {
            Self::Done(text) => Ok(text),
            Self::Status(_) => Ok(String::new()),
            Self::Problem {
                code,
                what,
                detail,
                next,
            } => {
                let code = Code::find(&code).copied().unwrap_or(code::REFUSED);
                Err(Problem {
                    detail: detail.map(Into::into),
                    next: next.map(Into::into),
                    ..Problem::new(code, what)
                })
            }
        }
    }
}

/// Somebody who asked to stop, and waits until it is done.
#[derive(Debug)]
pub(super) struct Waiting(UnixStream);

impl Waiting {
    /// Tells them.
    pub(super) async fn tell(self, text: &str) {
        reply(self.0, &Reply::Done(text.to_owned())).await;
    }
}

/// Listens in the place, which must be claimed: a socket found there is a dead one's.
pub(super) fn listen(place: &Place) -> Result<UnixListener, Problem> {
    let path = place.socket();
    let _none_was_there = fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|error| {
        Problem::new(
            code::FILE_UNREADABLE,
            format!("cannot listen on {}", path.display()),
        )
        .detail(error)
    })
}

/// Answers until it is dropped. Runs inside a `LocalSet`.
pub(super) async fn serve(
    listener: UnixListener,
    federation: Rc<Federation>,
    downs: mpsc::UnboundedSender<Waiting>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (federation, downs) = (federation.clone(), downs.clone());
                tokio::task::spawn_local(async move { answer(stream, &federation, &downs).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a request");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    federation: &Federation,
    downs: &mpsc::UnboundedSender<Waiting>,
) {
    let mut line = String::new();
    let read = BufReader::new((&mut stream).take(REQUEST_MAX))
        .read_line(&mut line)
        .await;
    let request = match read.map(|_| serde_json::from_str(&line)) {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => {
            let problem = Problem::new(code::USAGE, "the request does not parse").detail(error);
            return reply(stream, &Err(problem).into()).await;
        }
        Err(_) => return,
    };
    let answer = match request {
        Request::Down => {
            let _stopping_already = downs.send(Waiting(stream));
            return;
        }
        Request::Status => Reply::Status(Box::new(federation.status())),
        Request::BreakCluster { .. } | Request::BreakLink { .. } | Request::Heal { .. }
            if !matches!(federation.phase.get(), Phase::Ready { .. }) =>
        {
            Err(Problem::new(code::REFUSED, "weft dev is not ready")
                .next("Wait until `weft dev status -o json` says \"ready\": true."))
            .into()
        }
        Request::BreakCluster { cluster } => federation.break_cluster(&cluster).await.into(),
        Request::BreakLink { a, b } => federation.break_link(&a, &b).await.into(),
        Request::Heal { wait } => federation.heal(Duration::from_secs(wait)).await.into(),
    };
    reply(stream, &answer).await;
}

async fn reply(mut stream: UnixStream, reply: &Reply) {
    let mut line = serde_json::to_vec(reply).expect("a reply is plain values");
    line.push(b'\n');
    let _nobody_waits = stream.write_all(&line).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_a_script_can_write() {
        let check = |text: &str, expect: Request| {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), expect);
        };
        check(r#"{"do":"status"}"#, Request::Status);
        let cluster = "us-east-1".parse().unwrap();
        check(
            r#"{"do":"break-cluster","cluster":"us-east-1"}"#,
            Request::BreakCluster { cluster },
        );
    }

    #[test]
    fn a_problem_arrives_as_it_was() {
        let problem = Problem::new(code::USAGE, "what")
            .detail("detail")
            .next("next");
        let line = serde_json::to_string(&Reply::from(Err(problem.clone()))).unwrap();
        let arrived = serde_json::from_str::<Reply>(&line)
            .unwrap()
            .done()
            .unwrap_err();
        assert_eq!(arrived.to_string(), problem.to_string());
        assert_eq!(arrived.exit, problem.exit);
    }
}
