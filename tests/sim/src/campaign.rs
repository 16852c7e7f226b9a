//! Many seeds, on several threads.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::Violation;

/// Runs these seeds on so many threads, and hands over what each came to, as it ends; the first
/// that breaks something ends the campaign.
///
/// # Errors
/// Which seeds broke what.
pub fn campaign<T: Send>(
    seeds: Range<u64>,
    threads: usize,
    play: impl Fn(u64) -> Result<T, Violation> + Sync,
    take: impl FnMut(T) + Send,
) -> Result<(), String> {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((take, Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| play(seed)));
            let mut total = total
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            match outcome {
                Ok(Ok(outcome)) => (total.0)(outcome),
                Ok(Err(violation)) => total.1.push(format!("seed {seed}, {violation}")),
                Err(panic) => total
                    .1
                    .push(format!("seed {seed} panicked: {}", said(&*panic))),
            }
            if !total.1.is_empty() {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (_, failures) = total
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n")),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(see above)")
}

/// The seeds that `WEFT_SIM_SEEDS=1..10001` chooses; none if it is not set.
///
/// # Panics
/// If it is not `first..end`.
pub fn chosen_seeds() -> Option<Range<u64>> {
    let text = std::env::var("WEFT_SIM_SEEDS").ok()?;
    let range = text.split_once("..").and_then(|(first, end)| {
        let (first, end) = (first.parse().ok()?, end.parse().ok()?);
        Some(first..end)
    });
    Some(range.unwrap_or_else(|| panic!("WEFT_SIM_SEEDS is first..end, not {text}")))
}

/// As many threads as there are processors.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
