//! Clients of every gateway, and the record of what they asked and were told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use crate::history::{Act, End, History, Operation};
use crate::operator::{Credentials, Operator, Reading, Told};
use crate::timeline::Timeline;
use crate::world::World;

/// Clients of one gateway.
const CLIENTS: usize = 3;
/// Records of each cluster.
const RECORDS: usize = 2;
/// The record that is written by generations, through every gateway.
const LEDGER: &str = "ledger";
/// Between two operations of one client: all of them together stay far below what two cores
/// of a debug build can do, since a machine without a core to spare shows nothing but that.
const PAUSE: Duration = Duration::from_millis(60);
/// How long a connection may take.
const DIAL: Duration = Duration::from_secs(1);

/// Clients under way.
pub struct Clients {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What they have in common.
struct Shared {
    credentials: Arc<Credentials>,
    gateways: Vec<(String, SocketAddr)>,
    begun: Instant,
    stop: AtomicBool,
    values: AtomicU64,
    refused: AtomicUsize,
    seen: Mutex<Seen>,
    /// For each gateway the highest log position that an answer of its present run had.
    floors: Vec<Mutex<Arc<AtomicU64>>>,
}

/// What clients have seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Linearizable operations.
    pub history: History,
    /// Successful writes.
    pub timeline: Timeline,
    /// Answers of one gateway that were older than an earlier one's.
    pub backwards: Vec<String>,
    /// Reads from a replica as it was.
    pub local_reads: usize,
    /// Writes refused for certain.
    pub refused: usize,
}

impl Clients {
    /// Has them begin.
    ///
    /// # Errors
    /// Never, for the addresses of a world.
    pub fn start(world: &World, seed: u64) -> Result<Self> {
        let gateways = world.gateways()?;
        let shared = Arc::new(Shared {
            credentials: world.credentials(),
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            values: AtomicU64::new(1),
            refused: AtomicUsize::new(0),
            seen: Mutex::default(),
            floors: gateways.iter().map(|_| Mutex::default()).collect(),
            gateways,
        });
        let mut tasks = Vec::new();
        for gateway in 0..shared.gateways.len() {
            for _ in 0..CLIENTS {
                let number = tasks.len();
                let client = Client {
                    shared: Arc::clone(&shared),
                    number,
                    gateway,
                    rng: StdRng::seed_from_u64(seed ^ ((number as u64) << 32)),
                };
                tasks.push(world.runtime().spawn(client.run()));
            }
        }
        Ok(Self { shared, tasks })
    }

    /// The time on the clock of the history.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Looks at when writes succeeded so far.
    pub fn timeline<T>(&self, look: impl FnOnce(&Timeline) -> T) -> T {
        look(&self.shared.seen().timeline)
    }

    /// A gateway was killed: the next one in its place begins where its disk ends.
    pub fn killed(&self, gateway: usize) {
        if let Some(floor) = self.shared.floors.get(gateway) {
            *lock(floor) = Arc::default();
        }
    }

    /// Has them end, and takes what they have seen.
    ///
    /// # Errors
    /// One of them panicked.
    pub fn end(self, world: &World) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            world.runtime().block_on(task)?;
        }
        let mut seen = self.shared.seen().clone();
        seen.refused = self.shared.refused.load(Ordering::Relaxed);
        Ok(seen)
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Client {
    shared: Arc<Shared>,
    number: usize,
    gateway: usize,
    rng: StdRng,
}

/// Whether a connection is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Good,
    Doubtful,
}

impl Client {
    async fn run(mut self) {
        let mut operator: Option<Operator> = None;
        while !self.shared.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(PAUSE.mul_f64(self.rng.random_range(0.5..1.5))).await;
            let Some(connected) = &mut operator else {
                operator = self.connect().await.ok();
                continue;
            };
            if self.act(connected).await == Connection::Doubtful {
                operator = None;
            }
        }
    }

    async fn connect(&self) -> Result<Operator> {
        let (cluster, api) = &self.shared.gateways[self.gateway];
        self.shared.credentials.connect(cluster, *api, DIAL).await
    }

    async fn act(&mut self, operator: &mut Operator) -> Connection {
        let record = self.rng.random_range(0..RECORDS);
        match self.rng.random_range(0..100) {
            0..35 => {
                let key = self.own_key(record);
                self.write(operator, &key).await
            }
            35..45 => self.write_guarded(operator).await,
            45..55 => self.read(operator, LEDGER, "", Reading::Linearizable).await,
            55..90 => {
                let (key, cluster) = self.any_key(record);
                let how = Reading::Linearizable;
                self.read(operator, &key, &cluster, how).await
            }
            _ => {
                let (key, cluster) = self.any_key(record);
                self.read(operator, &key, &cluster, Reading::Local).await
            }
        }
    }

    fn own_key(&self, record: usize) -> String {
        format!("{}-{record}", self.shared.gateways[self.gateway].0)
    }

    fn any_key(&mut self, record: usize) -> (String, String) {
        let owner = self.rng.random_range(0..self.shared.gateways.len());
        let cluster = self.shared.gateways[owner].0.clone();
        (format!("{cluster}-{record}"), cluster)
    }

    fn value(&self) -> u64 {
        self.shared.values.fetch_add(1, Ordering::Relaxed)
    }

    async fn write(&self, operator: &mut Operator, key: &str) -> Connection {
        let value = self.value();
        let begun = self.shared.now();
        let told = operator.write(key, value).await;
        self.note_write(key, begun, Act::Write(value), told)
    }

    async fn write_guarded(&self, operator: &mut Operator) -> Connection {
        let Ok(generation) = operator.next_generation().await else {
            return Connection::Doubtful;
        };
        let value = self.value();
        let begun = self.shared.now();
        let Ok(told) = operator.write_as(LEDGER, generation, value).await else {
            return Connection::Doubtful;
        };
        let act = Act::Guarded { generation, value };
        self.note_write(LEDGER, begun, act, told)
    }

    fn note_write(&self, key: &str, begun: u64, act: Act, told: Told) -> Connection {
        let at = self.shared.now();
        let end = match told {
            Told::Done => End::Done(at),
            Told::Unknown(_) => End::Unknown,
            Told::Refused(_) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                return Connection::Good;
            }
        };
        let mut seen = self.shared.seen();
        seen.history.note(key, self.operation(begun, act, end));
        if end == End::Unknown {
            return Connection::Doubtful;
        }
        seen.timeline.note(begun, at);
        Connection::Good
    }

    async fn read(
        &self,
        operator: &mut Operator,
        key: &str,
        cluster: &str,
        how: Reading,
    ) -> Connection {
        let floor = Arc::clone(&lock(&self.shared.floors[self.gateway]));
        let before = floor.load(Ordering::SeqCst);
        let begun = self.shared.now();
        let Ok((value, applied)) = operator.read(key, cluster, how).await else {
            return Connection::Doubtful;
        };
        let at = self.shared.now();
        floor.fetch_max(applied, Ordering::SeqCst);
        let mut seen = self.shared.seen();
        if applied < before {
            let (gateway, _) = &self.shared.gateways[self.gateway];
            let what = format!("{gateway} answered as of {applied} after {before}");
            seen.backwards.push(what);
        }
        match how {
            Reading::Local => seen.local_reads += 1,
            Reading::Linearizable => {
                let operation = self.operation(begun, Act::Read(value), End::Done(at));
                seen.history.note(key, operation);
            }
        }
        Connection::Good
    }

    fn operation(&self, begun: u64, act: Act, end: End) -> Operation {
        Operation {
            client: self.number,
            begun,
            act,
            end,
        }
    }
}
