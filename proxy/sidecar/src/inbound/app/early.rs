//! What an HTTP/1.1 app says before its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::http::{Body, Interim, InterimError};

/// Interim answers of one connection, from hyper's task, which reads them, to the one that
/// waits for the answer.
pub(super) struct Early {
    tell: Sender<Response<()>>,
    told: Receiver<Response<()>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed<E> {
    Answer(E),
    /// An interim answer is unfit, or there are too many.
    Interim,
}

/// What may wait; more than [`Interim`] lets pass, so that none is lost and not missed.
const WAITING_MAX: usize = 65;

impl Early {
    pub(super) fn new() -> Self {
        let (tell, told) = mpsc::channel(WAITING_MAX);
        Self { tell, told }
    }

    /// Has the interim answers to `request` told to this.
    pub(super) fn expect(&self, request: &mut Request<Body>) {
        let tell = self.tell.clone();
        hyper::ext::on_informational(request, move |early| {
            // Answered by this hop, which asked the app for none.
            if early.status() == StatusCode::CONTINUE {
                return;
            }
            let mut answer = Response::new(());
            *answer.status_mut() = early.status();
            *answer.version_mut() = early.version();
            *answer.headers_mut() = early.headers().clone();
            // Fails if there are too many already, which is noticed by those.
            let _ = tell.try_send(answer);
        });
    }

    /// Waits for `answer`; what is told before goes to `interim`.
    pub(super) async fn until<T, E>(
        &mut self,
        answer: impl Future<Output = Result<T, E>>,
        interim: &Interim,
    ) -> Result<T, Failed<E>> {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            self.pass(cx, interim).map_err(|_| Failed::Interim)?;
            let answered = answer.as_mut().poll(cx);
            if answered.is_ready() {
                // Told before the answer was, perhaps since the last look.
                while let Ok(early) = self.told.try_recv() {
                    interim.pass(early).map_err(|_| Failed::Interim)?;
                }
            }
            answered.map_err(Failed::Answer)
        })
        .await
    }

    fn pass(&mut self, cx: &mut Context<'_>, interim: &Interim) -> Result<(), InterimError> {
        while let Poll::Ready(Some(early)) = self.told.poll_recv(cx) {
            interim.pass(early)?;
        }
        Ok(())
    }
}
