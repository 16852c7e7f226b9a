//! Keys at rest: what is written is read, and nothing else is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{KeyStore, KeyStoreError, Sealing};
use tempfile::TempDir;

const SECRET: &[u8] = b"a private key of no particular kind";

fn with_file(folder: &Path) -> Result<KeyStore, KeyStoreError> {
    let sealing = Sealing::KeyFile(folder.join("sealing.bin"));
    KeyStore::open(&folder.join("keys"), sealing)
}

fn with_passphrase(folder: &Path, passphrase: &str) -> KeyStore {
    let sealing = Sealing::Passphrase(passphrase.to_owned().into());
    KeyStore::open(&folder.join("keys"), sealing).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_comes_back_and_is_not_on_disk_in_clear() {
    let folder = TempDir::new().unwrap();
    with_file(folder.path()).unwrap().put("ca", SECRET).unwrap();
    let again = with_file(folder.path()).unwrap();
    assert_eq!(**again.load("ca").unwrap().unwrap(), *SECRET);
    assert!(again.load("other").unwrap().is_none());

    let path = folder.path().join("keys/ca.key");
    let file = fs::read(&path).unwrap();
    assert!(!file.windows(8).any(|window| window == &SECRET[..8]));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("keys")), 0o700);
    assert_eq!(mode(&folder.path().join("sealing.bin")), 0o600);
    // Nothing is left of the way there.
    assert_eq!(fs::read_dir(folder.path().join("keys")).unwrap().count(), 1);

    again.put("ca", b"the next one").unwrap();
    assert_eq!(**again.load("ca").unwrap().unwrap(), *b"the next one");
    again.remove("ca").unwrap();
    again.remove("ca").unwrap();
    assert!(again.load("ca").unwrap().is_none());
}

#[test]
fn what_others_may_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = with_file(folder.path()).unwrap();
    store.put("ca", SECRET).unwrap();
    let refused = |error| matches!(error, KeyStoreError::Permissions { .. });

    let key = folder.path().join("keys/ca.key");
    for open in [0o640, 0o604, 0o620, 0o666] {
        set_mode(&key, open);
        assert!(refused(store.load("ca").unwrap_err()), "{open:o}");
    }
    set_mode(&key, 0o400);
    assert!(store.load("ca").is_ok());

    set_mode(&folder.path().join("sealing.bin"), 0o644);
    assert!(refused(with_file(folder.path()).unwrap_err()));
    set_mode(&folder.path().join("sealing.bin"), 0o600);
    set_mode(&folder.path().join("keys"), 0o755);
    assert!(refused(with_file(folder.path()).unwrap_err()));
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    let folder = TempDir::new().unwrap();
    let store = with_file(folder.path()).unwrap();
    store.put("ca", SECRET).unwrap();
    let path = folder.path().join("keys/ca.key");
    let whole = fs::read(&path).unwrap();
    let noticed = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        match store.load("ca") {
            Err(KeyStoreError::Damaged { .. } | KeyStoreError::Format { .. }) => (),
            other => panic!("{what}: {other:?}"),
        }
    };
    for length in 0..whole.len() {
        noticed(&whole[..length], format!("cut to {length}"));
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        noticed(&flipped, format!("bit {bit}"));
    }
    fs::write(&path, &whole).unwrap();
    assert!(store.load("ca").is_ok());
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let folder = TempDir::new().unwrap();
    let store = with_file(folder.path()).unwrap();
    store.put("ca", SECRET).unwrap();
    let keys = folder.path().join("keys");

    // Sealed under another name.
    fs::copy(keys.join("ca.key"), keys.join("gateway.key")).unwrap();
    let error = store.load("gateway").unwrap_err();
    assert!(matches!(error, KeyStoreError::WrongKey { .. }), "{error}");

    // Another sealing key.
    let sealing = folder.path().join("sealing.bin");
    fs::write(&sealing, [7; 32]).unwrap();
    let error = with_file(folder.path()).unwrap().load("ca").unwrap_err();
    assert!(matches!(error, KeyStoreError::WrongKey { .. }), "{error}");

    // None: another one must not be made in its place.
    fs::remove_file(&sealing).unwrap();
    let error = with_file(folder.path()).unwrap_err();
    let missing = matches!(&error, KeyStoreError::KeyFileMissing(path) if *path == sealing);
    assert!(missing && !sealing.exists(), "{error}");

    // A passphrase instead.
    let error = with_passphrase(folder.path(), "x").load("ca").unwrap_err();
    assert!(
        matches!(error, KeyStoreError::WrongSealing { .. }),
        "{error}"
    );
}

#[test]
fn a_passphrase_opens_what_it_sealed() {
    let folder = TempDir::new().unwrap();
    let store = with_passphrase(folder.path(), "correct horse");
    store.put("ca", SECRET).unwrap();
    assert_eq!(**store.load("ca").unwrap().unwrap(), *SECRET);
    let wrong = with_passphrase(folder.path(), "correct house").load("ca");
    assert!(matches!(wrong, Err(KeyStoreError::WrongKey { .. })));
}

#[test]
fn names_stay_in_the_folder_and_a_sealing_key_has_32_bytes() {
    let folder = TempDir::new().unwrap();
    let store = with_file(folder.path()).unwrap();
    for name in ["", "..", "../ca", "a/b", "CA", "a.b", "a\0b"] {
        let refused = store.put(name, SECRET);
        assert!(matches!(refused, Err(KeyStoreError::Name(_))), "{name:?}");
    }
    let path = folder.path().join("sealing.bin");
    fs::write(&path, [1; 31]).unwrap();
    assert!(matches!(
        with_file(folder.path()),
        Err(KeyStoreError::KeyFileLength { found: 31, .. })
    ));
}
