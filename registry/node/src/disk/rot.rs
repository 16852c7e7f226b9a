//! For tests: a folder whose state is no longer the others', though every checksum is right.

use std::path::Path;

use super::batch::{Change, Meta};
use super::error::DiskError;
use super::record;
use super::store::Store;

/// Flips a bit in the snapshot of a folder whose node does not run, as a fault between the memory
/// and the checksum would: in the last byte of the last of `words`, each of which is looked for
/// behind the one before.
///
/// # Panics
/// The snapshot does not hold them.
pub fn flip(dir: &Path, words: &[&[u8]]) -> Result<(), DiskError> {
    let store = Store::open(dir, None)?;
    let value = record::image(&store.load()?.image);
    let mut message = value[record::CRC_BYTES..].to_vec();
    let mut end = 0;
    for word in words {
        let mut places = message[end..].windows(word.len());
        let at = places.position(|it| it == *word);
        end += at.expect("the snapshot holds it") + word.len();
    }
    message[end - 1] ^= 1;
    let changed = record::resealed(message);
    store.commit(vec![Change::Meta(Meta::Snapshot, changed.into())])
}
