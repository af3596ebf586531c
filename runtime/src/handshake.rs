//! What a program says of itself when it joins a cluster.

use phalanx_engine::{
    message::{Hello, PROTOCOL, Role},
    task::Registry,
};

use crate::error::Result;

/// The instruction set that this machine's kernels use where nobody says otherwise: the architecture, and on x86-64
/// the widest vectors that both machine and kernels know.
///
/// Sums are made in the order that the vectors' width gives, so programs of one cluster must agree on it, or their
/// results would differ in the last bit. A program whose kernels choose otherwise says so in its options.
///
/// ```
/// let instruction_set = phalanx_runtime::instruction_set();
/// assert!(instruction_set.starts_with(std::env::consts::ARCH));
/// ```
pub fn instruction_set() -> String {
    let arch = std::env::consts::ARCH;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        // The levels between which matrix products choose their kernel; nothing else that Phalanx computes differs.
        if has!("avx512f") {
            return format!("{arch}+avx512f");
        }
        if has!("avx2") && has!("fma") {
            return format!("{arch}+avx2+fma");
        }
        if has!("avx") {
            return format!("{arch}+avx");
        }
    }
    arch.into()
}

/// The introduction of this program.
///
/// # Errors
/// When two of its task functions have one name.
pub(crate) fn hello(role: Role, instruction_set: &str) -> Result<Hello> {
    Ok(Hello { functions: Registry::linked()?.table(), ..introduce(role, instruction_set) })
}

/// The introduction of a program that neither submits nor runs tasks.
pub(crate) fn introduce(role: Role, instruction_set: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        instruction_set: instruction_set.into(),
        functions: Vec::new(),
        role,
    }
}

#[cfg(test)]
mod tests;
