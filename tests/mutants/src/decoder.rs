//! A table of decoders, and what each of them has to stand.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::memory;
use crate::mutate::mutate;

/// Mutants of each decoder in the ordinary run.
const ORDINARY: u64 = 1_000;
/// Memory that any decoder may take, in bytes, and so much more for each byte that it reads: a
/// message of protobuf that is empty takes two bytes on the wire, and its fields in memory.
const MEMORY: usize = 256 * 1024;
const MEMORY_PER_BYTE: usize = 512;
/// Failures of one decoder that are told.
const TOLD: usize = 3;
/// Mutants that are read, at least: of few, their share would be one or none.
const READ_MIN: u64 = 5;
/// Bytes of each that are shown.
const SHOWN: usize = 2_000;

type Read<'d> = Box<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync + 'd>;
type Seal<'d> = Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'd>;

/// Something that reads foreign bytes.
pub struct Decoder<'d> {
    name: &'static str,
    samples: Vec<Vec<u8>>,
    read: Read<'d>,
    seal: Option<Seal<'d>>,
    reads_some: bool,
    refuses_some: bool,
    fewer: u64,
}

impl<'d> Decoder<'d> {
    /// A decoder: bytes that its encoder wrote, and what reads them, conversion and all.
    pub fn new<T, E: fmt::Display>(
        name: &'static str,
        samples: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        read: impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'd,
    ) -> Self {
        Self {
            name,
            samples: samples.into_iter().map(Into::into).collect(),
            read: Box::new(move |bytes| match read(bytes) {
                Ok(_) => Ok(()),
                Err(why) => Err(why.to_string()),
            }),
            seal: None,
            reads_some: true,
            refuses_some: true,
            fewer: 1,
        }
    }

    /// Samples stand without their checksum, which is made after the change: without that, the
    /// checksum alone would be tested.
    #[must_use]
    pub fn behind(self, seal: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'd) -> Self {
        Self {
            seal: Some(Box::new(seal)),
            ..self
        }
    }

    /// No change is read: the bytes are signed, or checked in another way that cannot be made
    /// again here.
    #[must_use]
    pub fn refuses_all(self) -> Self {
        Self {
            reads_some: false,
            ..self
        }
    }

    /// Any bytes are read.
    #[must_use]
    pub fn reads_all(self) -> Self {
        Self {
            refuses_some: false,
            ..self
        }
    }

    /// One in so many of the mutants that others get, since each takes longer.
    #[must_use]
    pub fn fewer(self, one_in: u64) -> Self {
        Self {
            fewer: one_in,
            ..self
        }
    }
}

/// Has each decoder of a table read its samples, and then mutants of them.
///
/// In the long form `WEFT_MUTANTS` are shared among the decoders.
///
/// # Panics
/// A decoder panics or takes too much memory, refuses a sample, or no share of the mutants is
/// refused, or read.
pub fn check(table: &[Decoder<'_>]) {
    let rows = table.len() as u64;
    let each = crate::long().map_or(ORDINARY, |all| (all / rows.max(1)).max(ORDINARY));
    let next = Mutex::new(table.iter());
    let failures = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(decoder) = take(&next) {
                    let failed = decoder.run(each / decoder.fewer);
                    failures.lock().expect("no panic holds it").extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic holds it");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn take<'t, 'd>(next: &Mutex<std::slice::Iter<'t, Decoder<'d>>>) -> Option<&'t Decoder<'d>> {
    next.lock().expect("no panic holds it").next()
}

/// What became of the mutants of one decoder.
#[derive(Default)]
struct Tally {
    read: u64,
    refused: u64,
    memory: usize,
    failures: Vec<String>,
}

impl Decoder<'_> {
    fn run(&self, mutants: u64) -> Vec<String> {
        let mut tally = Tally::default();
        for sample in &self.samples {
            match self.attempt(sample.clone()) {
                Ok((Ok(()), _)) => {}
                Ok((Err(why), _)) => {
                    tally.fail(format!("{}: a sample is refused: {why}", self.name));
                }
                Err(why) => tally.fail(format!("{}: a sample: {why}", self.name)),
            }
        }
        for seed in 0..mutants {
            let bytes = self.mutant(seed);
            if self.samples.contains(&bytes) {
                // What the changes did not change says nothing.
                continue;
            }
            let allowed = MEMORY + MEMORY_PER_BYTE * bytes.len();
            let said = self.attempt(bytes.clone());
            let told = |what: &str| {
                let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
                let (name, length) = (self.name, bytes.len());
                format!("{name}, seed {seed}: {what}, of {length} bytes \"{shown}\"")
            };
            match said {
                Err(why) => tally.fail(told(&why)),
                Ok((_, memory)) if memory > allowed => {
                    tally.fail(told(&format!("{memory} bytes of memory")));
                }
                Ok((read, memory)) => {
                    tally.memory = tally.memory.max(memory);
                    match read {
                        Ok(()) => tally.read += 1,
                        Err(_) => tally.refused += 1,
                    }
                }
            }
        }
        self.judge(tally, mutants)
    }

    /// The mutant of a seed, by itself.
    fn mutant(&self, seed: u64) -> Vec<u8> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = self.samples.choose(&mut rng).cloned().unwrap_or_default();
        let other = self.samples.choose(&mut rng).map_or(&[][..], |it| it);
        mutate(&mut rng, &mut bytes, other);
        bytes
    }

    /// Whether it is read, and the memory that took; or its panic.
    fn attempt(&self, bytes: Vec<u8>) -> Result<(Result<(), String>, usize), String> {
        let bytes = self.seal.iter().fold(bytes, |bytes, seal| seal(bytes));
        let read = AssertUnwindSafe(|| memory::held(|| (self.read)(&bytes)));
        catch_unwind(read).map_err(|panic| format!("it panics: {}", said(&*panic)))
    }

    fn judge(&self, mut tally: Tally, mutants: u64) -> Vec<String> {
        let Self { name, .. } = self;
        let Tally {
            read,
            refused,
            memory,
            ..
        } = tally;
        #[expect(clippy::print_stdout, reason = "a campaign shows its figures")]
        {
            println!(
                "{name}: {refused} refused, {read} read, {} KiB at most",
                memory / 1024
            );
        }
        if self.samples.is_empty() {
            tally.fail(format!("{name} has no sample"));
        }
        if self.reads_some && read < (mutants / 200).max(READ_MIN) {
            tally.fail(format!(
                "{name}: {read} of {mutants} are read: is it reached?"
            ));
        }
        if !self.reads_some && read > mutants / 100 {
            tally.fail(format!(
                "{name}: {read} of {mutants} are read, and none should be"
            ));
        }
        if self.refuses_some && refused < mutants / 50 {
            tally.fail(format!(
                "{name}: {refused} of {mutants} are refused: is anything checked?"
            ));
        }
        tally.failures
    }
}

impl Tally {
    fn fail(&mut self, what: String) {
        if self.failures.len() < TOLD {
            self.failures.push(what);
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A length, then as many bytes.
    fn sound(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (length, rest) = bytes.split_first().ok_or("empty")?;
        let body = rest.get(..usize::from(*length)).ok_or("cut off")?;
        Ok(body.to_vec())
    }

    fn failures<T>(read: impl Fn(&[u8]) -> Result<T, &'static str> + Send + Sync) -> String {
        let table = [Decoder::new("it", [b"\x05hello".to_vec()], read)];
        let failed = catch_unwind(AssertUnwindSafe(|| check(&table)));
        failed.map_or_else(|panic| said(&*panic).to_owned(), |()| String::new())
    }

    #[test]
    fn a_sound_decoder_passes() {
        assert_eq!(failures(sound), "");
    }

    #[test]
    fn a_panic_is_told_with_its_seed() {
        let told = failures(|bytes| Ok::<_, &str>(bytes[1..=usize::from(bytes[0])].to_vec()));
        assert!(told.contains("it, seed "), "{told}");
        assert!(told.contains("panics: "), "{told}");
    }

    #[test]
    fn memory_by_an_unchecked_length_is_told() {
        let told = failures(|bytes| {
            let length = *bytes.first().ok_or("empty")?;
            drop(Vec::<u8>::with_capacity(usize::from(length) << 16));
            sound(bytes)
        });
        assert!(told.contains("bytes of memory"), "{told}");
    }

    #[test]
    fn a_decoder_that_reads_nothing_or_refuses_nothing_is_told() {
        let told = failures(|bytes| (bytes == b"\x05hello").then_some(()).ok_or("other"));
        assert!(told.contains("is it reached?"), "{told}");
        let told = failures(|_| Ok::<_, &str>(()));
        assert!(told.contains("is anything checked?"), "{told}");
        let told = failures(|_| Err::<(), _>("no"));
        assert!(told.contains("a sample is refused: no"), "{told}");
    }

    #[test]
    fn a_few_that_are_read_are_no_share_of_few_mutants() {
        let told = |some: u64| {
            let read = AtomicU64::new(0);
            let few = |bytes: &[u8]| {
                let is_read = bytes == b"\x05hello" || read.fetch_add(1, Ordering::Relaxed) < some;
                is_read.then_some(()).ok_or("other")
            };
            let decoder = Decoder::new("it", [b"\x05hello".to_vec()], few).fewer(4);
            decoder.run(ORDINARY / decoder.fewer).join("\n")
        };
        assert!(told(4).contains("it: 4 of 250 are read"), "{}", told(4));
        assert_eq!(told(5), "");
    }
}
