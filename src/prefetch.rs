//! Asks for memory that will be needed soon, without waiting for it: what many things need is so waited for once.

/// Bytes that come together.
const CACHE_LINE: usize = 64;

/// Has so many bytes from here on brought into the cache. They need not be anybody's: an address is all that counts.
#[inline]
pub(crate) fn prefetch<T>(place: *const T, bytes: usize) {
    let first = place.cast::<u8>();
    for at in (0..bytes).step_by(CACHE_LINE).chain(bytes.checked_sub(1)) {
        line(first.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the instruction is one of the processor's")]
#[inline]
fn line(place: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction reads nothing, has no result, and does not fail, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
}

/// Other processors have such an instruction, too, but stable Rust does not.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn line(_place: *const u8) {}
