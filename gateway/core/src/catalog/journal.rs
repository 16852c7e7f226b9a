//! A log that keeps only the last word on each key, for many readers.
//!
//! Readers hold a [`Cursor`] and nothing is queued for them: one that falls
//! behind gets the present state of what changed since, not every step of the
//! way. A snapshot is the same read begun at zero. Memory is bounded by the
//! number of live keys and a fixed number of removals.

use std::collections::{BTreeMap, VecDeque};

use super::SetHash;

/// Removals remembered; a reader that misses an older one starts over.
const REMOVALS_MAX: usize = 16_384;

/// Removals that a reader hears of which begins anew.
const REMOVALS_TOLD: usize = 4_096;

/// The last word on each key, in the order of change. Keys are grouped, so that
/// readers can leave out groups and still know the hash of the rest.
#[derive(Debug, Clone)]
pub struct Journal<G, K, V> {
    groups: BTreeMap<G, Group<K, V>>,
    order: BTreeMap<u64, (G, K)>,
    removals: VecDeque<u64>,
    head: u64,
    /// Removals up to here are forgotten.
    floor: u64,
}

#[derive(Debug, Clone)]
struct Group<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    hash: SetHash,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    position: u64,
    value: V,
    /// Its share in the hash; none if it is a removal.
    element: Option<u64>,
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    position: u64,
    /// Where it began: it needs no removal before.
    base: u64,
    /// Removals up to here are not told: the reader has nothing that they are about, or has seen them.
    told: u64,
}

/// One word read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<V> {
    /// Where it stands.
    pub position: u64,
    /// The word.
    pub value: V,
}

/// Words read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<V> {
    /// In the order of change.
    pub steps: Vec<Step<V>>,
    /// Whether the reader has now seen everything.
    pub caught_up: bool,
}

impl Cursor {
    /// How far the reader is.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl<G, K, V> Default for Journal<G, K, V> {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            order: BTreeMap::new(),
            removals: VecDeque::new(),
            head: 0,
            floor: 0,
        }
    }
}

impl<G: Ord + Clone, K: Ord + Clone, V: Clone> Journal<G, K, V> {
    /// The last position written.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Writes a key's value; `element` is its share in the hash.
    pub fn put(&mut self, group: G, key: K, value: V, element: u64) {
        self.write(group, key, value, Some(element));
    }

    /// Writes that a key is gone, in the words of `value`. Without effect if
    /// it is not there.
    pub fn remove(&mut self, group: G, key: K, value: V) {
        if self.get(&group, &key).is_some() {
            self.write(group, key, value, None);
            self.forget_removals();
        }
    }

    /// A key's value, if it is present.
    pub fn get(&self, group: &G, key: &K) -> Option<&V> {
        let entry = self.groups.get(group)?.entries.get(key)?;
        entry.element.map(|_| &entry.value)
    }

    /// The groups that have or had keys.
    pub fn groups(&self) -> impl Iterator<Item = &G> {
        self.groups.keys()
    }

    /// The keys of a group that are present.
    pub fn keys<'a>(&'a self, group: &G) -> impl Iterator<Item = &'a K> {
        let entries = self.groups.get(group).into_iter().flat_map(|g| &g.entries);
        entries
            .filter(|(_, entry)| entry.element.is_some())
            .map(|(key, _)| key)
    }

    /// The hash of all present keys of the groups that `covers` admits.
    pub fn hash(&self, covers: impl Fn(&G) -> bool) -> SetHash {
        self.groups
            .iter()
            .filter(|(name, _)| covers(name))
            .fold(SetHash::default(), |sum, (_, group)| sum.join(group.hash))
    }

    /// A reader that knows nothing.
    pub fn begin(&self) -> Cursor {
        Cursor {
            position: 0,
            base: self.head,
            told: self.head,
        }
    }

    /// A reader that begins anew and may hold what it was told in an earlier life, or with other
    /// groups: it also hears of the last removals.
    pub fn begin_anew(&self) -> Cursor {
        let untold = self.removals.len().checked_sub(REMOVALS_TOLD + 1);
        let told = untold.and_then(|last| self.removals.get(last));
        Cursor {
            told: told.copied().unwrap_or(0),
            ..self.begin()
        }
    }

    /// A reader that has seen everything up to `position`; none if removals
    /// after it are forgotten, or it is ahead of this journal.
    pub fn resume(&self, position: u64) -> Option<Cursor> {
        let lawful = (self.floor..=self.head).contains(&position);
        lawful.then_some(Cursor {
            position,
            base: position,
            told: position,
        })
    }

    /// Moves `cursor` over at most `most` words and returns those that `covers`
    /// admits; none if the reader fell so far behind that it must begin again.
    pub fn read(
        &self,
        cursor: &mut Cursor,
        most: usize,
        covers: impl Fn(&G) -> bool,
    ) -> Option<Batch<V>> {
        if cursor.position.max(cursor.base) < self.floor {
            return None;
        }
        let mut steps = Vec::new();
        let mut words = self.order.range(cursor.position + 1..);
        for (position, (group, key)) in words.by_ref().take(most) {
            cursor.position = *position;
            let entry = self.groups.get(group).and_then(|g| g.entries.get(key));
            let Some(entry) = entry.filter(|_| covers(group)) else {
                continue;
            };
            let old_removal = entry.element.is_none() && *position <= cursor.told;
            if !old_removal {
                steps.push(Step {
                    position: *position,
                    value: entry.value.clone(),
                });
            }
        }
        let caught_up = words.next().is_none();
        if caught_up {
            cursor.position = self.head;
        }
        Some(Batch { steps, caught_up })
    }

    fn write(&mut self, name: G, key: K, value: V, element: Option<u64>) {
        self.head += 1;
        let position = self.head;
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            entries: BTreeMap::new(),
            hash: SetHash::default(),
        });
        match element {
            Some(element) => group.hash.insert(element),
            None => self.removals.push_back(position),
        }
        let entry = Entry {
            position,
            value,
            element,
        };
        if let Some(before) = group.entries.insert(key.clone(), entry) {
            self.order.remove(&before.position);
            if let Some(element) = before.element {
                group.hash.remove(element);
            }
        }
        self.order.insert(position, (name, key));
    }

    fn forget_removals(&mut self) {
        while self.removals.len() > REMOVALS_MAX {
            let Some(position) = self.removals.pop_front() else {
                return;
            };
            // Only a key that nobody wrote again still stands at that position.
            if let Some((name, key)) = self.order.remove(&position) {
                self.floor = position;
                if let Some(group) = self.groups.get_mut(&name) {
                    group.entries.remove(&key);
                    if group.entries.is_empty() {
                        self.groups.remove(&name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Small = Journal<char, u32, String>;

    fn read(journal: &Small, cursor: &mut Cursor) -> String {
        let batch = journal.read(cursor, 100_000, |_| true).unwrap();
        assert!(batch.caught_up);
        let words: Vec<String> = batch.steps.into_iter().map(|step| step.value).collect();
        words.join(" ")
    }

    #[test]
    fn a_reader_that_was_away_gets_last_words_only() {
        let mut journal = Small::default();
        let mut cursor = journal.begin();
        journal.put('a', 1, "one".into(), 1);
        journal.put('a', 2, "two".into(), 2);
        assert_eq!(read(&journal, &mut cursor), "one two");
        for round in 0..100 {
            journal.put('a', 1, format!("one{round}"), 1);
        }
        journal.remove('a', 2, "-two".into());
        journal.remove('a', 2, "-two".into());
        assert_eq!(read(&journal, &mut cursor), "one99 -two");
        assert_eq!(read(&journal, &mut cursor), "");
        assert_eq!(read(&journal, &mut journal.begin()), "one99");
    }

    #[test]
    fn who_begins_anew_hears_of_the_last_removals() {
        let mut journal = Small::default();
        for key in 1..=3 {
            journal.put('a', key, format!("{key}"), 1);
        }
        journal.remove('a', 1, "-1".into());
        journal.remove('a', 2, "-2".into());
        let anew = |journal: &Small| read(journal, &mut journal.begin_anew());
        assert_eq!(anew(&journal), "3 -1 -2");
        journal.put('a', 2, "two".into(), 1);
        assert_eq!(anew(&journal), "3 -1 two");
        for key in 4..=u32::try_from(REMOVALS_TOLD).unwrap() + 3 {
            journal.put('b', key, "x".into(), 1);
            journal.remove('b', key, "-x".into());
        }
        let read = anew(&journal);
        assert!(read.starts_with("3 two -x"), "{}", &read[..20]);
        assert_eq!(read.split(' ').count(), REMOVALS_TOLD + 2);
    }

    #[test]
    fn the_hash_follows_what_is_present() {
        let mut journal = Small::default();
        journal.put('a', 1, "one".into(), 10);
        journal.put('b', 2, "two".into(), 20);
        journal.put('a', 1, "uno".into(), 11);
        assert_eq!(journal.hash(|_| true), SetHash(31));
        assert_eq!(journal.hash(|group| *group == 'b'), SetHash(20));
        journal.remove('b', 2, "-two".into());
        assert_eq!(journal.hash(|_| true), SetHash(11));
    }

    #[test]
    fn a_reader_behind_forgotten_removals_begins_again() {
        let mut journal = Small::default();
        for key in 0..2 * u32::try_from(REMOVALS_MAX).unwrap() {
            journal.put('a', key, "x".into(), 1);
        }
        let seen = journal.head();
        let mut behind = journal.resume(seen).unwrap();
        let mut midway = journal.begin();
        assert!(!journal.read(&mut midway, 10, |_| true).unwrap().caught_up);
        for key in 0..2 * u32::try_from(REMOVALS_MAX).unwrap() {
            journal.remove('a', key, "-x".into());
        }
        assert_eq!(journal.read(&mut behind, 10, |_| true), None);
        assert_eq!(journal.read(&mut midway, 10, |_| true), None);
        assert_eq!(journal.resume(seen), None);
        assert_eq!(journal.resume(journal.head() + 1), None);
        assert_eq!(journal.order.len(), REMOVALS_MAX, "bounded");
        assert_eq!(read(&journal, &mut journal.begin()), "");
    }
}
