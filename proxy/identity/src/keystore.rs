//! Private keys at rest: one sealed file per key in a folder of their own.
//!
//! A file is `"weftkey"`, format version 1, how the sealing key is made (0: key file,
//! 1: passphrase), PBKDF2 iterations (u32, big endian; 0 for a key file), salt (16),
//! nonce (12), AES-256-GCM ciphertext with tag, and the first 8 bytes of the SHA-256
//! of all before. Header and name are authenticated: a file renamed is a file refused.
//! The checksum, which needs no key, tells a damaged file from a wrong key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::bundle::sha256;
use crate::signing::random;

const MAGIC: &[u8; 8] = b"weftkey\x01";
const HEADER: usize = MAGIC.len() + 1 + 4 + 16 + 12;
const CHECKSUM: usize = 8;
const TAG: usize = 16;
/// OWASP's figure for PBKDF2-HMAC-SHA256 (2023).
const ITERATIONS: u32 = 600_000;
/// More than this is an attack on whoever opens the file.
const ITERATIONS_MAX: u32 = 10_000_000;
/// No key here is longer, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// Why a key could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The disk said no.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{path} has mode {mode:04o}, others may read it: chmod {want:04o} {path}")]
    Permissions {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        want: u32,
    },
    /// Not a key file of ours, or of a later version.
    #[error("{path} is no sealed key of a known version")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Truncated or changed since it was written.
    #[error("{path} is damaged: its checksum does not match")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Intact, but sealed with another key or under another name.
    #[error("{path} was sealed with another key or passphrase, or under another name")]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// Sealed with a passphrase where a key file is set up, or the other way round.
    #[error("{path} is sealed with a {sealed}, not with a {given}")]
    WrongSealing {
        /// The file.
        path: PathBuf,
        /// How it is sealed.
        sealed: &'static str,
        /// What was given to open it.
        given: &'static str,
    },
    /// Not a name for a file.
    #[error("{0:?} is not a key's name: a-z, 0-9 and '-' are allowed")]
    Name(String),
    /// The sealing key file is gone, and keys that it sealed are not.
    #[error("{0} is missing, and there are keys that it sealed")]
    KeyFileMissing(PathBuf),
    /// The sealing key file does not have 32 bytes.
    #[error("{path} has {found} bytes, a sealing key has 32")]
    KeyFileLength {
        /// The key file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
}

/// What seals the keys.
pub enum Sealing {
    /// A file of 32 random bytes, made on first use.
    KeyFile(PathBuf),
    /// A passphrase, stretched with PBKDF2-HMAC-SHA256 and a salt per file.
    Passphrase(Zeroizing<String>),
}

enum Secret {
    Key(Zeroizing<[u8; 32]>),
    Passphrase(Zeroizing<String>),
}

/// A folder of sealed private keys, readable by its owner alone.
pub struct KeyStore {
    folder: PathBuf,
    secret: Secret,
}

impl KeyStore {
    /// Opens `folder`, making it if it is not there.
    pub fn open(folder: &Path, sealing: Sealing) -> Result<Self, KeyStoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("create", folder))?;
        let metadata = fs::metadata(folder).map_err(failed("read", folder))?;
        check_mode(folder, &metadata, 0o700)?;
        let secret = match sealing {
            Sealing::KeyFile(path) => Secret::Key(load_or_make(&path, folder)?),
            Sealing::Passphrase(passphrase) => Secret::Passphrase(passphrase),
        };
        Ok(Self {
            folder: folder.to_owned(),
            secret,
        })
    }

    /// Keeps `key` under `name`, replacing what was there; on disk when it returns.
    pub fn put(&self, name: &str, key: &[u8]) -> Result<(), KeyStoreError> {
        let path = self.path(name)?;
        write_whole(&path, &self.seal(name, key))
    }

    /// The key under `name`; none if there is none.
    pub fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let path = self.path(name)?;
        match read_private(&path)? {
            Some(bytes) => self.unseal(name, &path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Removes the key under `name`, if there is one.
    pub fn remove(&self, name: &str) -> Result<(), KeyStoreError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| sync_folder(&path))
                .map_err(failed("remove", &path)),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyStoreError> {
        let lawful = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(lawful) {
            return Err(KeyStoreError::Name(name.chars().take(100).collect()));
        }
        Ok(self.folder.join(format!("{name}.key")))
    }

    fn seal(&self, name: &str, key: &[u8]) -> Vec<u8> {
        let (kind, iterations) = match self.secret {
            Secret::Key(_) => (0, 0),
            Secret::Passphrase(_) => (1, ITERATIONS),
        };
        let salt: [u8; 16] = random();
        let nonce: [u8; 12] = random();
        let mut file = MAGIC.to_vec();
        file.push(kind);
        file.extend_from_slice(&u32::to_be_bytes(iterations));
        file.extend_from_slice(&salt);
        file.extend_from_slice(&nonce);
        let mut body = Zeroizing::new(Vec::with_capacity(key.len() + TAG));
        body.extend_from_slice(key);
        self.cipher(iterations, &salt)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from([&file, name.as_bytes()].concat()),
                &mut *body,
            )
            .expect("a key is far shorter than AES-GCM's limit");
        file.extend_from_slice(&body);
        let sum = sha256(&file);
        file.extend_from_slice(&sum[..CHECKSUM]);
        file
    }

    fn unseal(
        &self,
        name: &str,
        path: &Path,
        file: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        if !file.starts_with(MAGIC) {
            let path = path.to_owned();
            // A magic that is cut off, or is there but for a bit, cannot be told from a foreign file.
            return Err(KeyStoreError::Format { path });
        }
        let damaged = || KeyStoreError::Damaged {
            path: path.to_owned(),
        };
        if file.len() < HEADER + TAG + CHECKSUM {
            return Err(damaged());
        }
        let (file, sum) = file.split_at(file.len() - CHECKSUM);
        if sha256(file)[..CHECKSUM] != *sum {
            return Err(damaged());
        }
        let (header, body) = file.split_at(HEADER);
        let iterations = self.check_sealing(path, header)?;
        let (salt, nonce) = (&header[13..29], &header[29..]);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .cipher(iterations, salt)
            .open_in_place(
                nonce,
                Aad::from([header, name.as_bytes()].concat()),
                &mut body,
            )
            .map_err(|_| KeyStoreError::WrongKey {
                path: path.to_owned(),
            })?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// The iterations, if the file was sealed the way this store opens files.
    fn check_sealing(&self, path: &Path, header: &[u8]) -> Result<u32, KeyStoreError> {
        const WORDS: [&str; 2] = ["key file", "passphrase"];
        let given = match self.secret {
            Secret::Key(_) => 0,
            Secret::Passphrase(_) => 1,
        };
        let format = || KeyStoreError::Format {
            path: path.to_owned(),
        };
        let sealed = usize::from(header[8]);
        if sealed != given {
            return Err(KeyStoreError::WrongSealing {
                path: path.to_owned(),
                sealed: WORDS.get(sealed).ok_or_else(format)?,
                given: WORDS[given],
            });
        }
        let iterations = u32::from_be_bytes([header[9], header[10], header[11], header[12]]);
        if iterations > ITERATIONS_MAX || (sealed == 1 && iterations == 0) {
            return Err(format());
        }
        Ok(iterations)
    }

    fn cipher(&self, iterations: u32, salt: &[u8]) -> LessSafeKey {
        let key = match &self.secret {
            Secret::Key(key) => key.clone(),
            Secret::Passphrase(passphrase) => {
                let mut key = Zeroizing::new([0; 32]);
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA256,
                    NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN),
                    salt,
                    passphrase.as_bytes(),
                    &mut *key,
                );
                key
            }
        };
        let key = UnboundKey::new(&AES_256_GCM, &*key).expect("AES-256 takes 32 bytes");
        LessSafeKey::new(key)
    }
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// A key is made for a folder without sealed keys alone: it would open no other.
fn load_or_make(path: &Path, folder: &Path) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
    if let Some(bytes) = read_private(path)? {
        let found = bytes.len();
        return match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Zeroizing::new(key)),
            Err(_) => Err(KeyStoreError::KeyFileLength {
                path: path.to_owned(),
                found,
            }),
        };
    }
    let mut sealed = fs::read_dir(folder).map_err(failed("read", folder))?;
    let is_key = |entry: &fs::DirEntry| entry.path().extension() == Some("key".as_ref());
    if sealed.any(|entry| entry.as_ref().is_ok_and(is_key)) {
        return Err(KeyStoreError::KeyFileMissing(path.to_owned()));
    }
    let key = Zeroizing::new(random::<32>());
    write_whole(path, &*key)?;
    Ok(key)
}

/// Reads a file that nobody else may read; none if it is not there.
fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    // Of the file that is open, not of whatever the path names by now.
    let metadata = file.metadata().map_err(failed("read", path))?;
    check_mode(path, &metadata, 0o600)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(Some(bytes))
}

fn check_mode(path: &Path, metadata: &fs::Metadata, want: u32) -> Result<(), KeyStoreError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyStoreError::Permissions {
            path: path.to_owned(),
            mode,
            want,
        });
    }
    Ok(())
}

/// Old content or new content, never a mixture, whatever happens on the way.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let temporary = path.with_extension(format!("tmp-{:016x}", u64::from_be_bytes(random())));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path));
    if written.is_err() {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed("write", path))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError {
    let path = path.to_owned();
    move |source| KeyStoreError::Io { what, path, source }
}
