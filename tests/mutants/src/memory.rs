//! How much memory one call holds at most, by counting what its thread allocates.

#![expect(unsafe_code, reason = "an allocator that counts, around the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    /// Bytes that this thread holds since the count began, and the most that it held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The most that `call` held at once, in bytes.
pub fn held<T>(call: impl FnOnce() -> T) -> (T, usize) {
    HELD.set((0, 0));
    let said = call();
    (said, HELD.get().1.unsigned_abs())
}

fn count(change: isize) {
    // A thread that ends may free after its count is gone.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now.wrapping_add(change);
        held.set((now, most.max(now)));
    });
}

// SAFETY: every call is the system's, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_again_counts_while_it_is_held() {
        let ((), most) = held(|| {
            drop(vec![0_u8; 1 << 20]);
            drop(vec![0_u8; 1 << 16]);
        });
        assert!((1 << 20..(1 << 20) + 4096).contains(&most), "{most}");
    }
}
