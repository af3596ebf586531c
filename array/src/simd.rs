//! Chooses the widest vector instructions this processor has, without `unsafe`.
//!
//! Kernels are plain Rust over fixed numbers of lanes ([`LANES`]) whose order never depends on the width of the
//! registers, so they give the same bits on every level; only matrix products differ between levels, because they
//! use fused multiply-add where there is one. [`instruction_set`] names the level, for the handshake to compare.

use std::sync::OnceLock;

use pulp::Arch;

/// Partial sums that a kernel keeps side by side: enough to fill two 256-bit or one 512-bit register.
pub const LANES: usize = 8;

/// Runs `kernel` compiled for the widest vector instructions at hand.
///
/// The closure and what it calls take part only where they are inlined: mark all of them `#[inline(always)]`, as the
/// functions in [`kernel::inlined`](crate::kernel::inlined) are. Of a large closure without the mark the compiler makes
/// a function for the least processor.
///
/// ```
/// use phalanx_array::{kernel::inlined, simd};
/// let (x, y) = (vec![1.0; 100], vec![2.0; 100]);
/// assert_eq!(simd::dispatch(#[inline(always)] || inlined::dot(&x, &y)), 200.0);
/// ```
#[inline]
pub fn dispatch<R>(kernel: impl FnOnce() -> R) -> R {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    ARCH.get_or_init(Arch::new).dispatch(kernel)
}

/// Whether a product and a sum are one instruction and one rounding.
#[inline]
pub(crate) fn has_fused_multiply_add() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        // As for the levels that `dispatch` knows.
        std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    {
        cfg!(target_arch = "aarch64")
    }
}

/// The level of vector instructions in use. Programs on the same level give the same bits.
///
/// ```
/// assert!(!phalanx_array::simd::instruction_set().is_empty());
/// ```
pub fn instruction_set() -> &'static str {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        // The levels between which ndarray's matrix product chooses its kernel.
        if std::arch::is_x86_feature_detected!("avx512f") {
            "x86 avx512f"
        } else if std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2") {
            "x86 avx2 fma"
        } else if std::arch::is_x86_feature_detected!("avx") {
            "x86 avx"
        } else {
            "x86 sse2"
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    {
        std::env::consts::ARCH
    }
}
