//! The terminal while a screen is shown: keys at once and unseen, drawn over in place.
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::mem::MaybeUninit;

/// The terminal, given back as it was when dropped.
pub(super) struct Terminal {
    /// None if standard input is no terminal: then no key can be read.
    before: Option<libc::termios>,
}

/// Another screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

impl Terminal {
    /// Takes it.
    pub(super) fn take() -> Self {
        let before = attributes();
        if let Some(before) = before {
            let mut keys = before;
            keys.c_lflag &= !(libc::ICANON | libc::ECHO);
            // Reads return what was typed, at once, be it nothing.
            keys.c_cc[libc::VMIN] = 0;
            keys.c_cc[libc::VTIME] = 0;
            set(&keys);
        }
        print(ENTER);
        Self { before }
    }

    /// Draws `body`, cut to what fits, with `foot` as the last line.
    pub(super) fn draw(&self, body: &str, foot: &str) {
        let (rows, columns) = size();
        let cut = |line: &str| line.chars().take(columns).collect::<String>();
        let mut text = String::from(HOME);
        for line in body.lines().take(rows.saturating_sub(2)) {
            text.push_str(&cut(line));
            text.push_str(CLEAR_LINE);
            text.push_str("\r\n");
        }
        text.push_str(CLEAR_LINE);
        text.push_str(&cut(foot));
        text.push_str(CLEAR_BELOW);
        print(&text);
    }

    /// Whether `key` was typed since the last time.
    pub(super) fn typed(&self, key: u8) -> bool {
        let mut keys = [0; 16];
        if self.before.is_none() {
            return false;
        }
        let count = std::io::stdin().lock().read(&mut keys).unwrap_or(0);
        keys[..count].contains(&key)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        print(LEAVE);
        if let Some(before) = &self.before {
            set(before);
        }
    }
}

/// A terminal that is gone shows nothing: no reason to fail.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn attributes() -> Option<libc::termios> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: tcgetattr writes a whole termios where it returns 0, and is given room for one.
    let got = unsafe { libc::tcgetattr(libc::STDIN_FILENO, attributes.as_mut_ptr()) };
    // SAFETY: it was written whole.
    (got == 0).then(|| unsafe { attributes.assume_init() })
}

fn set(attributes: &libc::termios) {
    // SAFETY: tcsetattr only reads the termios that it is given.
    let _set = unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, attributes) };
}

/// Rows and columns; those of the oldest terminals if it does not say.
fn size() -> (usize, usize) {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ writes a winsize, and is given room for one.
    let got = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) };
    // SAFETY: all zeros is a winsize too.
    let size = unsafe { size.assume_init() };
    match (got, size.ws_row, size.ws_col) {
        (0, rows, columns) if rows > 0 && columns > 0 => (rows.into(), columns.into()),
        _ => (24, 80),
    }
}
