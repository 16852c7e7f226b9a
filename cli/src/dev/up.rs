//! `weft dev` itself: claims its place, brings the federation up, waits for the word
//! to stop, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;
use weft_model::code;

use super::control::{self, Waiting};
use super::federation::{Federation, Phase};
use super::folder::Folder;
use super::options::Options;
use super::place::{Owner, Place};
use super::plan::Plan;
use super::screen::{self, Live};
use super::{contexts, ports};
use crate::output;
use crate::problem::{Exit, Problem};

/// Time between two looks at processes and figures.
const TICK: Duration = Duration::from_secs(1);

/// Where the federation lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Home {
    /// A folder of the user's; a temporary one if left out.
    pub(crate) dir: Option<PathBuf>,
    /// Whether a temporary one stays.
    pub(crate) keep: bool,
}

/// Runs until it is told to stop. Call on the main thread: see `sys`.
pub(crate) fn up(home: &Home, options: Options) -> Result<Exit, Problem> {
    let begun = Instant::now();
    let place = Place::of_user()?;
    let mut claim = place.claim()?;
    let folder = match &home.dir {
        Some(dir) => Folder::named(dir)?,
        None => Folder::temporary()?,
    };
    if home.keep {
        folder.keep();
    }
    let kept = same_options(&folder, &options)?;
    let plan = Plan::new(&options);
    ports::check(&plan)?;
    claim.sign(&Owner {
        pid: std::process::id(),
        dir: folder.root().to_owned(),
        temporary: !folder.stays(),
    })?;
    let before = if kept {
        contexts::select()?
    } else {
        contexts::prepare(&plan.domain)?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Problem::new(code::FILE_UNREADABLE, "cannot start a runtime").detail(error)
        })?;
    let session = Session { kept, begun };
    let (stays, outcome) = LocalSet::new().block_on(&runtime, session.run(&place, options, folder));
    contexts::restore(&plan.domain, before.as_deref(), stays)?;
    outcome
}

/// Whether the folder holds a federation already; then its options must be the same.
fn same_options(folder: &Folder, options: &Options) -> Result<bool, Problem> {
    match folder.founded()? {
        None => Ok(false),
        Some(founded) if founded == *options => Ok(true),
        Some(founded) => Err(Problem::new(
            code::USAGE,
            format!("{} was founded with other options", folder.root().display()),
        )
        .detail(format!(
            "--wan {:?} --dns-port {}: its registry holds addresses that follow from them",
            founded.wan, founded.dns_port
        ))
        .next("Give the same options, or another folder.")),
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// Whether it goes on with a federation that was founded before.
    kept: bool,
    begun: Instant,
}

/// What makes the loop go round.
enum Event {
    /// Everything is up, or something failed.
    Up(Result<(), Problem>),
    /// A signal said to stop.
    Told,
    /// `weft dev down` did.
    Asked(Waiting),
    Tick,
}

impl Session {
    /// Whether the folder stays, and how it ended.
    async fn run(
        self,
        place: &Place,
        options: Options,
        folder: Folder,
    ) -> (bool, Result<Exit, Problem>) {
        let started = self.start(place, options, folder).await;
        let (federation, listener, signals) = match started {
            Ok(started) => started,
            Err(problem) => return (false, Err(problem)),
        };
        let (downs_out, downs) = mpsc::unbounded_channel();
        let server = spawn_local(control::serve(listener, federation.clone(), downs_out));
        let (waiting, outcome) = self.supervise(&federation, signals, downs).await;
        if outcome.is_err() {
            // What failed is in its logs.
            federation.folder.keep();
        }
        federation.phase.set(Phase::Stopping);
        federation.stop_processes().await;
        if let Some(wide_area) = &federation.wide_area {
            wide_area.stop().await;
        }
        server.abort();
        let _removed = std::fs::remove_file(place.socket());
        let stays = federation.folder.stays();
        if stays {
            output::narrate(&format!("kept: {}", federation.folder.root().display()));
        }
        if let Some(waiting) = waiting {
            waiting.tell("stopped").await;
        }
        (stays && outcome.is_ok(), outcome.map(|()| Exit::Done))
    }

    async fn start(
        self,
        place: &Place,
        options: Options,
        folder: Folder,
    ) -> Result<(Rc<Federation>, UnixListener, Signals), Problem> {
        let failed = |what: &str, error: std::io::Error| {
            Problem::new(code::FILE_UNREADABLE, what).detail(error)
        };
        let signals = Signals::new().map_err(|error| failed("cannot listen to signals", error))?;
        let executable = std::env::current_exe()
            .map_err(|error| failed("cannot tell which program this is", error))?;
        let listener = control::listen(place)?;
        let federation = Federation::new(executable, options, folder, self.begun).await?;
        Ok((Rc::new(federation), listener, signals))
    }

    /// Brings it up and looks after it, until there is a reason to stop.
    async fn supervise(
        self,
        federation: &Rc<Federation>,
        mut signals: Signals,
        mut downs: mpsc::UnboundedReceiver<Waiting>,
    ) -> (Option<Waiting>, Result<(), Problem>) {
        let live = Live::new();
        let mut bring_up = Some(Box::pin(federation.bring_up(self.kept)));
        let mut ticks = tokio::time::interval(TICK);
        let mut known_ended = BTreeSet::new();
        loop {
            let event = tokio::select! {
                biased;
                () = signals.told() => Event::Told,
                Some(waiting) = downs.recv() => Event::Asked(waiting),
                up = async { bring_up.as_mut().expect("guarded").await }, if bring_up.is_some() => {
                    Event::Up(up)
                }
                _ = ticks.tick() => Event::Tick,
            };
            match event {
                Event::Told => return (None, Ok(())),
                Event::Asked(waiting) => return (Some(waiting), Ok(())),
                Event::Up(Err(problem)) => return (None, Err(problem)),
                Event::Up(Ok(())) => {
                    bring_up = None;
                    self.announce(federation);
                }
                Event::Tick if bring_up.is_none() => {
                    tell_of_ended(federation, &mut known_ended, &live);
                    live.refresh(self.begun.elapsed(), &federation.load.recent());
                }
                Event::Tick => {}
            }
        }
    }

    fn announce(self, federation: &Rc<Federation>) {
        federation.phase.set(Phase::Ready {
            after: self.begun.elapsed(),
        });
        let load = federation.load.clone();
        spawn_local(async move { load.run().await });
        let program = std::env::current_exe().unwrap_or_default();
        output::data(&screen::page(federation, &program));
    }
}

/// Says which processes have ended by themselves, each once.
fn tell_of_ended(federation: &Federation, known: &mut BTreeSet<String>, live: &Live) {
    let ended: BTreeSet<String> = federation.ended().into_iter().collect();
    let broken = federation.broken.borrow();
    let unplugged = |id: &str| {
        id.split_once('/').is_some_and(|(cluster, _)| {
            broken
                .clusters
                .iter()
                .any(|broken| broken.as_str() == cluster)
        })
    };
    for id in ended.difference(known).filter(|id| !unplugged(id)) {
        live.say(&format!(
            "{id} {}; its log: {}   (weft dev heal starts it again)",
            federation.how_it_ended(id),
            federation.folder.log(id).display()
        ));
    }
    *known = ended;
}

/// The signals that mean stop: Ctrl-C, SIGTERM, and the terminal going away.
#[derive(Debug)]
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
