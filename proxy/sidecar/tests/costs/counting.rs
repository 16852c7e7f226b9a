//! An allocator that counts for each thread, and the kernel's count of its wake-ups.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::world::until;

/// Threads told apart; further ones share the last place.
const THREADS_MAX: usize = 64;

static THREADS: [Thread; THREADS_MAX] = [const { Thread::new() }; THREADS_MAX];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Thread {
    /// The kernel's id; 0: nobody's yet.
    id: AtomicU64,
    allocations: AtomicU64,
    bytes: AtomicU64,
}

impl Thread {
    const fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The calling thread's. It allocates nothing.
    fn own() -> &'static Self {
        let place = PLACE.with(|place| {
            if place.get() == usize::MAX {
                let next = NEXT.fetch_add(1, Ordering::Relaxed).min(THREADS_MAX - 1);
                place.set(next);
                // SAFETY: it takes nothing and cannot fail.
                #[allow(unsafe_code, reason = "libc")]
                let id = unsafe { libc::gettid() };
                THREADS[next]
                    .id
                    .store(id.unsigned_abs().into(), Ordering::Relaxed);
            }
            place.get()
        });
        &THREADS[place]
    }

    fn count(bytes: usize) {
        let own = Self::own();
        own.allocations.fetch_add(1, Ordering::Relaxed);
        own.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: everything is the system allocator's; counting allocates nothing.
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Thread::count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Thread::count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Thread::count(size.saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

/// A sidecar's worker thread in this process.
pub(crate) struct Worker {
    id: u64,
}

impl Worker {
    /// The one that is there beside `others`, once it has given itself its name.
    pub(crate) async fn started_after(others: &[&Self]) -> Self {
        let mut found = None;
        until("a worker has started", || {
            found = named().find(|id| others.iter().all(|other| other.id != *id));
            found.is_some()
        })
        .await;
        Self { id: found.unwrap() }
    }

    fn costs(&self) -> Costs {
        let threads = THREADS.iter();
        let mut own = threads.filter(|thread| thread.id.load(Ordering::Relaxed) == self.id);
        let counted = own.next().expect("a worker allocates");
        Costs {
            allocations: counted.allocations.load(Ordering::Relaxed),
            bytes: counted.bytes.load(Ordering::Relaxed),
            wakeups: self.wakeups(),
        }
    }

    /// How often it has waited for something, and been woken.
    fn wakeups(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", self.id)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }
}

/// The threads of sidecars' workers in this process.
fn named() -> impl Iterator<Item = u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        name.is_ok_and(|name| name.starts_with("weft-worker"))
    })
}

/// What a worker has used so far, or between two looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    pub(crate) wakeups: u64,
}

impl Costs {
    /// Of both workers.
    pub(crate) fn of(source: &Worker, destination: &Worker) -> Before {
        Before([source.costs(), destination.costs()])
    }

    fn since(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            bytes: self.bytes - before.bytes,
            wakeups: self.wakeups - before.wakeups,
        }
    }
}

/// Both workers at one moment.
pub(crate) struct Before([Costs; 2]);

impl Before {
    /// What each has used since.
    pub(crate) fn until_now(self, source: &Worker, destination: &Worker) -> [Costs; 2] {
        let [source_before, destination_before] = self.0;
        [
            source.costs().since(source_before),
            destination.costs().since(destination_before),
        ]
    }
}
